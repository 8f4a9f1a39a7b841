import { describe, expect, it } from 'vitest'
import { describeConfig, describeDefaults, settingsMarkdown } from '../../src/config/describe.js'
import { loadConfig } from '../../src/config/load.js'
import { environmentName, SETTING_KEYS } from '../../src/config/settings.js'

function lineOf(text: string, name: string): string {
  return text.split('\n').find((line) => line.startsWith(`${name} `)) ?? ''
}

describe('the description of a configuration', () => {
  const described = describeConfig(
    loadConfig({
      flags: { rawTimeout: '90s' },
      environment: {
        FANFARE_AUTH_TOKENS: 'ann=first-secret,second-secret',
        FANFARE_AUTH_HMAC_SECRET: 'third-secret',
        FANFARE_API_KEY: 'fourth-secret',
        FANFARE_REDIS_URL: 'rediss://ann:fifth-secret@redis.example.com:6380/3',
        FANFARE_MAX_MESSAGE_BYTES: '65536',
      },
    }),
  )

  it('has a line for every setting', () => {
    for (const key of SETTING_KEYS) expect(lineOf(described, environmentName(key))).not.toBe('')
    expect(described.split('\n')).toHaveLength(SETTING_KEYS.length + 1)
  })

  it('shows value, source, default and unit', () => {
    expect(lineOf(described, 'FANFARE_RAW_TIMEOUT')).toMatch(/\s90s\s+flag\s+30s\s+duration\s/)
    expect(lineOf(described, 'FANFARE_MAX_MESSAGE_BYTES')).toMatch(/\s64KiB\s+environment\s+1MiB\s+size\s/)
    expect(lineOf(described, 'FANFARE_ALLOWED_ORIGINS')).toMatch(/\snone\s+default\s+none\s+list\s/)
  })

  it('shows the default of an invalid setting, and marks it', () => {
    const wrong = describeConfig(loadConfig({ environment: { FANFARE_PORT: 'http' } }))
    expect(lineOf(wrong, 'FANFARE_PORT')).toMatch(
      /\s8000\s+default \(the value from the environment is wrong\)\s+8000\s/,
    )
  })

  it('names namespaces, and truncates long values', () => {
    const long = describeConfig(
      loadConfig({
        environment: {
          FANFARE_NAMESPACES: '[{"name":"chat","presence":true},{"name":""}]',
          FANFARE_ALLOWED_ORIGINS: Array(50).fill('https://app.example.com').join(','),
        },
      }),
    )
    expect(lineOf(long, 'FANFARE_NAMESPACES')).toMatch(/\schat, ""\s+environment\s/)
    expect(lineOf(long, 'FANFARE_ALLOWED_ORIGINS')).toMatch(/\shttps:\S+(, ?\S*)*…\s+environment\s/)
    for (const line of long.split('\n')) expect(line.length).toBeLessThan(320)
  })

  it('never shows a secret', () => {
    expect(described).not.toContain('-secret')
    for (const name of ['FANFARE_AUTH_TOKENS', 'FANFARE_AUTH_HMAC_SECRET', 'FANFARE_API_KEY']) {
      expect(lineOf(described, name)).toMatch(/\s\*\*\*\s+environment\s/)
    }
  })

  it('masks the password of Redis and shows the rest of its address', () => {
    expect(lineOf(described, 'FANFARE_REDIS_URL')).toContain(' rediss://ann:***@redis.example.com:6380/3 ')
  })

  it('shows no password where Redis has none', () => {
    const plain = describeConfig(loadConfig({ environment: { FANFARE_REDIS_URL: 'redis://10.0.0.9:6379' } }))
    expect(lineOf(plain, 'FANFARE_REDIS_URL')).toMatch(/ redis:\/\/10\.0\.0\.9:6379 /)
  })
})

describe('the tables of defaults', () => {
  it.each([
    ['for the terminal', describeDefaults()],
    ['for the documentation', settingsMarkdown()],
  ])('%s have a line for every setting', (_, table) => {
    for (const key of SETTING_KEYS) expect(table).toContain(environmentName(key))
  })

  it('do not depend on the machine that prints them', () => {
    expect(lineOf(describeDefaults(), 'FANFARE_MAX_CONNECTIONS')).toContain('the descriptor limit less 256')
    expect(lineOf(describeDefaults(), 'FANFARE_LOG_FORMAT')).toContain('json; pretty on a terminal')
  })
})
