/** The fields of results about the expiry of a connection or subscription: whether it expires, and in how many seconds. */
export function expiryFields(expiresAtMs: number | undefined): {
  readonly expires: boolean
  readonly ttl: number | undefined
} {
  if (expiresAtMs === undefined) return { expires: false, ttl: undefined }
  return { expires: true, ttl: Math.max(1, Math.ceil((expiresAtMs - Date.now()) / 1_000)) }
}
