import { DEFAULT_NAMESPACE_OPTIONS, type NamespaceOptions } from '../../src/channel/namespaces.js'

/** A namespace that keeps history, with options of its own. */
export function namespace(part: Partial<NamespaceOptions> = {}): NamespaceOptions {
  return { ...DEFAULT_NAMESPACE_OPTIONS, name: '', historySize: 100, historyTtlMs: 60_000, ...part }
}
