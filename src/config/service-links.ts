/**
 * Whether an environment variable is a service link of Kubernetes rather than a setting. Kubernetes sets them in every
 * pod, for every Service: one named `fanfare` (or `fanfare-internal`) yields FANFARE_PORT=tcp://10.0.0.1:8000,
 * FANFARE_SERVICE_HOST, FANFARE_PORT_8000_TCP_ADDR and the like.
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
export function isServiceLink(name: string, value: string): boolean {
  return (
    /_SERVICE_(HOST|PORT(_\w+)?)$/.test(name) ||
    /_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name) ||
    (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value))
  )
}
