import { duration, size } from '../../src/config/kinds.js'
import { environmentName, SETTING_KEYS, type SettingKey, settingOf } from '../../src/config/settings.js'

/** Formats values as the documentation writes them: `16KiB`, `10s`, `1,000`. */
export const shown = {
  bytes: (value: number) => size(0, Number.MAX_SAFE_INTEGER).show(value),
  milliseconds: (value: number) => duration().show(value),
  count: (value: number) => value.toLocaleString('en-US'),
} as const

/** The key of a setting that a page names as `FANFARE_…`. Throws for another name. */
export function settingNamed(name: string): SettingKey {
  const key = SETTING_KEYS.find((one) => environmentName(one) === name)
  if (key === undefined) throw new Error(`${name} is not a setting`)
  return key
}

/** The default of a setting as the table of settings documents it. */
export function shownDefault(name: string): string {
  const { kind, default: value, defaultText } = settingOf(settingNamed(name))
  return defaultText ?? kind.show(value)
}
