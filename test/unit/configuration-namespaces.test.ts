import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { DEFAULT_NAMESPACE_OPTIONS, type NamespaceOptions } from '../../src/channel/namespaces.js'
import { loadConfig } from '../../src/config/load.js'
import { namespaceOptionName, namespaces } from '../../src/config/namespaces.js'
import { publicKeys } from '../../src/config/public-keys.js'

function read(input: unknown): readonly NamespaceOptions[] {
  const list = namespaces.read(input)
  if (list === undefined) throw new Error(namespaces.problem?.(input) ?? 'not read')
  return list
}

/** Every option, with a value that is not its default. */
const ALL_OPTIONS = {
  name: 'chat',
  presence: true,
  join_leave: true,
  force_push_join_leave: true,
  history_size: 100,
  history_ttl: '10m',
  history_meta_ttl: '90d',
  force_positioning: true,
  force_recovery: true,
  force_recovery_mode: 'cache',
  allow_subscribe_for_client: true,
  allow_subscribe_for_anonymous: true,
  allow_user_limited_channels: true,
  allow_publish_for_subscriber: true,
  allow_publish_for_client: true,
  allow_publish_for_anonymous: true,
  allow_history_for_subscriber: true,
  allow_history_for_client: true,
  allow_history_for_anonymous: true,
  allow_presence_for_subscriber: true,
  allow_presence_for_client: true,
  allow_presence_for_anonymous: true,
  channel_regex: '^\\d+$',
  publication_data_format: 'json',
  delivery_delay: '20ms',
}

describe('namespaces', () => {
  it('are read alike from JSON text and from parsed YAML, with every option', () => {
    const [chat] = read([ALL_OPTIONS])
    expect(read(JSON.stringify([ALL_OPTIONS]))).toEqual([chat])
    expect(chat).toMatchObject({
      name: 'chat',
      historySize: 100,
      historyTtlMs: 600_000,
      historyMetaTtlMs: 90 * 86_400_000,
      forceRecoveryMode: 'cache',
      channelRegex: /^\d+$/,
      publicationDataFormat: 'json',
      deliveryDelayMs: 20,
    })
    for (const [key, value] of Object.entries(DEFAULT_NAMESPACE_OPTIONS)) {
      expect(chat?.[key as keyof NamespaceOptions]).not.toEqual(value)
    }
    const documented = Object.keys(DEFAULT_NAMESPACE_OPTIONS).map(namespaceOptionName)
    expect(Object.keys(ALL_OPTIONS).slice(1).sort()).toEqual(documented.sort())
  })

  it('are shown as text that reads back the same, without options at their default', () => {
    const list = read([ALL_OPTIONS, { name: '' }, { name: 'a', presence: true, history_size: 0 }])
    const shown = namespaces.show(list)
    expect(read(shown)).toEqual(list)
    expect(JSON.parse(shown)).toEqual([ALL_OPTIONS, { name: '' }, { name: 'a', presence: true }])
  })

  it('without options allow and keep nothing', () => {
    expect(read('[{"name":"chat"}]')).toEqual([{ ...DEFAULT_NAMESPACE_OPTIONS, name: 'chat' }])
    expect(read('[]')).toEqual([])
  })

  it('accept booleans and numbers as text, since environment variables are text', () => {
    expect(read([{ name: 'a', presence: 'true', history_size: '7', history_ttl: '1s' }])[0]).toMatchObject({
      presence: true,
      historySize: 7,
    })
  })

  it.each<[unknown, string]>([
    ['{', 'is not JSON'],
    ['chat', 'is not JSON'],
    ['{"name":"chat"}', 'must be a list such as [{"name":"chat","presence":true}]'],
    ['null', 'must be a list such as [{"name":"chat","presence":true}]'],
    [17, 'must be a list such as [{"name":"chat","presence":true}]'],
    [['chat'], 'entry 1 must be an object such as {"name":"chat","presence":true}'],
    [[{ name: 'a' }, null], 'entry 2 must be an object such as {"name":"chat","presence":true}'],
    [[[]], 'entry 1 must be an object such as {"name":"chat","presence":true}'],
    [
      [{ presence: true }],
      'entry 1: name must be up to 64 letters, digits and - _ . ("" for channels without a prefix)',
    ],
    [
      [{ name: 17 }],
      'entry 1: name must be up to 64 letters, digits and - _ . ("" for channels without a prefix)',
    ],
    ...['a:b', 'a b', '$a', 'a#', 'grün', 'a\n', 'x'.repeat(65)].map((name): [unknown, string] => [
      [{ name }],
      `namespace "${name}": name must be up to 64 letters, digits and - _ . ("" for channels without a prefix)`,
    ]),
    [[{ name: 'a' }, { name: 'b' }, { name: 'a' }, { name: 'a' }], '"a" is there twice'],
    [[{ name: '' }, { name: '' }], '"" is there twice'],
    [[{ name: 'a', presense: true }], 'namespace "a": presense is not an option; did you mean presence?'],
    [
      [{ name: 'a', historyTtlMs: 5 }],
      'namespace "a": historyTtlMs is not an option; did you mean history_ttl?',
    ],
    [[{ name: 'a', presence: 1 }], 'namespace "a": presence must be true or false'],
    [[{ name: 'a', presence: null }], 'namespace "a": presence must be true or false'],
    [
      [{ name: 'a', force_recovery_mode: 'both' }],
      'namespace "a": force_recovery_mode must be one of stream, cache',
    ],
    [
      [{ name: 'a', delivery_delay: '1001ms' }],
      'namespace "a": delivery_delay must be a duration such as 500ms, 30s or 5m, from 0ms to 1s',
    ],
    [
      [{ name: 'a', publication_data_format: 'xml' }],
      'namespace "a": publication_data_format must be one of json, any',
    ],
    ...['(', '(a+)+$', `^${'x'.repeat(255)}`, 17].map((pattern): [unknown, string] => [
      [{ name: 'a', channel_regex: pattern }],
      'namespace "a": channel_regex must be a regular expression of at most 255 characters, without nested repetitions, which could take for ever',
    ]),
    ...[-1, 1.5, 100_001, 'many'].map((size): [unknown, string] => [
      [{ name: 'a', history_size: size, history_ttl: '1m' }],
      'namespace "a": history_size must be a whole number from 0 to 100000',
    ]),
    [
      [{ name: 'a', history_size: 10, history_ttl: 60 }],
      'namespace "a": history_ttl must be a duration such as 500ms, 30s or 5m, from 0ms to 24d',
    ],
    ...['0d', '10000d', '0s', 30].map((ttl): [unknown, string] => [
      [{ name: 'a', history_meta_ttl: ttl }],
      'namespace "a": history_meta_ttl must be a duration such as 12h or 30d, from 1ms to 9999d',
    ]),
    [[{ name: 'a', history_size: 10 }], 'namespace "a": history_size and history_ttl go together'],
    [[{ name: 'a', history_ttl: '1m' }], 'namespace "a": history_size and history_ttl go together'],
    ...['force_recovery', 'force_positioning'].map((option): [unknown, string] => [
      [{ name: 'a', [option]: true }],
      'namespace "a": force_recovery and force_positioning need history_size and history_ttl',
    ]),
    [[{ name: 'a', force_push_join_leave: true }], 'namespace "a": force_push_join_leave needs join_leave'],
  ])('%j are refused: %s', (input, problem) => {
    expect(namespaces.read(input)).toBeUndefined()
    expect(namespaces.problem?.(input)).toBe(problem)
  })

  it('report all of their problems at once', () => {
    const { problems } = loadConfig({
      environment: { FANFARE_NAMESPACES: '[{"name":"a","presense":true},{"name":"b:c"},{"name":"a"}]' },
    })
    expect(problems).toEqual([
      {
        where: 'FANFARE_NAMESPACES (environment)',
        what: expect.stringMatching(/presense.*; namespace "b:c".*; "a" is there twice$/),
      },
    ])
  })

  it('have no options from the object prototype', () => {
    for (const key of ['__proto__', 'constructor', 'toString', 'name ']) {
      expect(namespaces.problem?.(`[{"name":"a","${key}":{"presence":true}}]`)).toContain('is not an option')
    }
  })
})

describe('public keys', () => {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-keys-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  const texts = ({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }) => ({
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  })
  const ec = (namedCurve: string) => texts(generateKeyPairSync('ec', { namedCurve })).publicKey
  const rsa = texts(generateKeyPairSync('rsa', { modulusLength: 2048 }))
  const weakRsa = texts(generateKeyPairSync('rsa', { modulusLength: 1024 }))
  const ed25519 = texts(generateKeyPairSync('ed25519'))

  it.each([
    ['RSA', rsa.publicKey],
    ['P-256', ec('P-256')],
    ['P-384', ec('P-384')],
    ['P-521', ec('P-521')],
    ['Ed25519', ed25519.publicKey],
  ])('of the kind %s are accepted as text, also on one line', (_kind, pem) => {
    expect(publicKeys.read(pem)).toBe(pem.trim())
    expect(publicKeys.read(pem.replaceAll('\n', '\\n'))).toBe(pem.trim())
  })

  it('are read from a file with several of them and comments in between', () => {
    const path = join(directory, 'keys.pem')
    writeFileSync(path, `# old\n${rsa.publicKey}\n# new\n${ed25519.publicKey}`)
    expect(publicKeys.read(path)).toBe(`${rsa.publicKey}${ed25519.publicKey}`.trim())
    expect(publicKeys.show(publicKeys.read(path) ?? '')).toBe('2 public keys')
  })

  const empty = join(directory, 'empty.pem')
  writeFileSync(empty, 'nothing\n')

  it.each([
    [17, 'must be public keys (PEM), or the path of a file of them'],
    [join(directory, 'missing.pem'), `cannot read ${join(directory, 'missing.pem')} (ENOENT)`],
    [directory, `cannot read ${directory} (EISDIR)`],
    [empty, 'holds no PEM'],
    ['-----BEGIN PUBLIC KEY-----', 'holds no PEM'],
    [weakRsa.publicKey, 'holds an RSA key of 1024 bits, which can be broken; use 2048 or more'],
    [rsa.privateKey, 'holds a private key; nodes only need the public one'],
    [`${rsa.publicKey}${ed25519.privateKey}`, 'holds a private key; nodes only need the public one'],
    ['-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', 'holds a PEM that is no public key'],
    [
      texts(generateKeyPairSync('x25519')).publicKey,
      'holds a key of the kind x25519; use RSA, EC (P-256, P-384, P-521) or Ed25519',
    ],
    [
      texts(generateKeyPairSync('ed448')).publicKey,
      'holds a key of the kind ed448; use RSA, EC (P-256, P-384, P-521) or Ed25519',
    ],
    [ec('secp256k1'), 'holds a key of the kind ec secp256k1; use RSA, EC (P-256, P-384, P-521) or Ed25519'],
  ])('%j are refused: %s', (input, problem) => {
    expect(publicKeys.read(input)).toBeUndefined()
    expect(publicKeys.problem?.(input)).toBe(problem)
  })

  it('that are refused do not appear in the message', () => {
    const { problems } = loadConfig({ environment: { FANFARE_AUTH_PUBLIC_KEY: rsa.privateKey } })
    expect(problems.map(({ what }) => what)).toEqual(['holds a private key; nodes only need the public one'])
  })
})
