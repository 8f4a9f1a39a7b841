import type { LoadedConfig } from './load.js'
import { environmentName, SETTING_KEYS, type SettingKey, settingOf } from './settings.js'

const MASK = '***'
/** Longer values are truncated: one long list of origins would pad every line of the table to its length. */
const MAX_CELL_LENGTH = 60

function formatDefault(key: SettingKey): string {
  const setting = settingOf(key)
  return setting.defaultText ?? setting.kind.show(setting.default)
}

function formatValue(key: SettingKey, value: unknown): string {
  const setting = settingOf(key)
  if (value === undefined) return setting.defaultText ?? ''
  if (setting.secret === true) return MASK
  const shown = setting.kind.brief?.(value) ?? setting.kind.show(value)
  const visible = setting.secret === 'partly' ? maskPassword(shown) : shown
  return visible.length > MAX_CELL_LENGTH ? `${visible.slice(0, MAX_CELL_LENGTH - 1)}…` : visible
}

/** Masks the query too: there may be passwords in it. */
function maskPassword(address: string): string {
  const url = new URL(address)
  if (url.password !== '') url.password = MASK
  if (url.search !== '') url.search = MASK
  return url.href
}

/** Formats rows as aligned columns for a terminal. */
function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/**
 * The output of `fanfare config`: every setting with its value and the source of it. Of values that may be long the
 * names only (`Kind.brief`).
 */
export function describeConfig({
  config,
  sources,
  invalid,
}: Pick<LoadedConfig, 'config' | 'sources' | 'invalid'>): string {
  const rows = SETTING_KEYS.map((key) => [
    environmentName(key),
    formatValue(key, config[key]),
    invalid.has(key) ? `${sources[key]} (the value from the ${invalid.get(key)} is wrong)` : sources[key],
    formatDefault(key),
    settingOf(key).kind.unit,
    settingOf(key).meaning,
  ])
  return alignColumns([['setting', 'value', 'source', 'default', 'unit', 'meaning'], ...rows])
}

/** The output of `fanfare config --defaults`. */
export function describeDefaults(): string {
  const rows = SETTING_KEYS.map((key) => [
    environmentName(key),
    formatDefault(key),
    settingOf(key).kind.unit,
    settingOf(key).meaning,
  ])
  return alignColumns([['setting', 'default', 'unit', 'meaning'], ...rows])
}

/** The table of docs/settings.md, in Markdown. */
export function settingsMarkdown(): string {
  const rows = SETTING_KEYS.map((key) => {
    const { meaning } = settingOf(key)
    return `| \`${environmentName(key)}\` | ${formatDefault(key)} | ${meaning} |`
  })
  return ['| environment | default | meaning |', '|---|---|---|', ...rows].join('\n')
}
