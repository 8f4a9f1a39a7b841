import type { Loaded } from './load.js'
import { environmentName, SETTING_KEYS, type SettingKey, settingOf } from './settings.js'

const MASK = '***'
/** A cell is cut off here, or a list of origins would make every line of the table as long. */
const MAX_CELL_LENGTH = 60

function shownDefault(key: SettingKey): string {
  const setting = settingOf(key)
  return setting.defaultText ?? setting.kind.show(setting.default)
}

function shownValue(key: SettingKey, value: unknown): string {
  const setting = settingOf(key)
  if (value === undefined) return setting.defaultText ?? ''
  if (setting.secret === true) return MASK
  const shown = setting.kind.brief?.(value) ?? setting.kind.show(value)
  const visible = setting.secret === 'partly' ? withoutPassword(shown) : shown
  return visible.length > MAX_CELL_LENGTH ? `${visible.slice(0, MAX_CELL_LENGTH - 1)}…` : visible
}

/** ioredis reads options from the query too. */
function withoutPassword(address: string): string {
  const url = new URL(address)
  if (url.password !== '') url.password = MASK
  if (url.search !== '') url.search = MASK
  return url.href
}

/** Rows as aligned columns for a terminal. */
function aligned(rows: readonly (readonly string[])[]): string {
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

/** What `fanfare config` prints: every setting with its value and where that came from; names where values are long. */
export function describeConfig({
  config,
  sources,
  invalid,
}: Pick<Loaded, 'config' | 'sources' | 'invalid'>): string {
  const rows = SETTING_KEYS.map((key) => [
    environmentName(key),
    shownValue(key, config[key]),
    invalid.has(key) ? `${sources[key]} (what the ${invalid.get(key)} says is wrong)` : sources[key],
    shownDefault(key),
    settingOf(key).kind.unit,
    settingOf(key).meaning,
  ])
  return aligned([['setting', 'value', 'source', 'default', 'unit', 'meaning'], ...rows])
}

/** What `fanfare config --defaults` prints. */
export function describeDefaults(): string {
  const rows = SETTING_KEYS.map((key) => [
    environmentName(key),
    shownDefault(key),
    settingOf(key).kind.unit,
    settingOf(key).meaning,
  ])
  return aligned([['setting', 'default', 'unit', 'meaning'], ...rows])
}

/** The table of docs/settings.md. */
export function settingsMarkdown(): string {
  const rows = SETTING_KEYS.map((key) => {
    const { meaning } = settingOf(key)
    return `| \`${environmentName(key)}\` | ${shownDefault(key)} | ${meaning} |`
  })
  return ['| environment | default | meaning |', '|---|---|---|', ...rows].join('\n')
}
