export interface ApiAnswer {
  status: number
  body: { result?: Record<string, unknown>; error?: { code: number; message: string; temporary?: boolean } }
}

/** Calls a method of a node's server API. */
export async function callApi(
  node: { readonly httpUrl: string },
  method: string,
  body: unknown,
  headers: Record<string, string> = { 'X-API-Key': API_KEY },
): Promise<ApiAnswer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const response = await fetch(`${node.httpUrl}/api/${method}`, { method: 'POST', headers, body: text })
  return { status: response.status, body: (await response.json()) as ApiAnswer['body'] }
}

export const API_KEY = 'the-api-key'
