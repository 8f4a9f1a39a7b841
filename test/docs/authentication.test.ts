import { generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { readExpiry, readIdentity } from '../../src/auth/claims.js'
import type { JwtVerifier } from '../../src/auth/jwt-verifier.js'
import { hmacChecks, keyChecks } from '../../src/auth/signatures.js'
import { TokenAuthenticator } from '../../src/auth/token-authenticator.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { exampleSettings, runShell, startExampleNode } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const page = new Page('docs/authentication.md')
const VERIFIED_CLAIMS = ['exp', 'nbf', 'aud', 'iss']

/** The names of the claims that a function reads. */
function claimsReadBy(read: (claims: Record<string, unknown>) => unknown): ReadonlySet<string> {
  const names = new Set<string>()
  read(
    new Proxy<Record<string, unknown>>(
      {},
      {
        get: (_claims, name) => {
          names.add(String(name))
          return undefined
        },
      },
    ),
  )
  return names
}

function documentedClaims(table: string): readonly string[] {
  return page
    .rows(table)
    .flatMap(({ cells: [names = ''] }) => codesIn(names))
    .toSorted()
}

describe('the page about authentication', () => {
  it('has the claims of connection tokens that the code reads', () => {
    const read = new Set([...claimsReadBy(readIdentity), ...claimsReadBy(readExpiry), ...VERIFIED_CLAIMS])
    expect(documentedClaims('connection-claims'), page.where('connection-claims')).toEqual([...read].sort())
  })

  it('has the claims of subscription tokens that the code reads', () => {
    const claims = claimsReadBy((all) => {
      const jwts = { verify: () => ({ claims: all }) } as unknown as JwtVerifier
      const authenticator = new TokenAuthenticator({ staticTokens: [], jwts, allowAnonymous: false })
      // The empty user and an absent channel match absent claims, so that all claims are read.
      authenticator.authenticateSubscription('token', '', undefined as unknown as string)
    })
    const read = new Set([...claims, ...VERIFIED_CLAIMS])
    expect(documentedClaims('subscription-claims'), page.where('subscription-claims')).toEqual(
      [...read].sort(),
    )
  })

  it('has the algorithms that each kind of key is used for', () => {
    const ec = (namedCurve: string) => keyChecks(generateKeyPairSync('ec', { namedCurve }).publicKey)
    const byKey = {
      'shared secret': hmacChecks('secret'),
      'RSA, 2,048 bits or more': keyChecks(generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey),
      'EC P-256': ec('P-256'),
      'EC P-384': ec('P-384'),
      'EC P-521': ec('P-521'),
      Ed25519: keyChecks(generateKeyPairSync('ed25519').publicKey),
    }
    const documented = page.rows('algorithms').map(({ cells: [key, , algorithms] }) => [key, algorithms])
    expect(documented, page.where('algorithms')).toEqual(
      Object.entries(byKey).map(([key, checks]) => [key, [...checks.keys()].join(', ')]),
    )
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1_024 })
    expect(() => keyChecks(publicKey)).toThrow('2048 bits or more')
  })

  it('makes a connection token and a subscription token that a node accepts', async () => {
    const node = await startExampleNode()
    const made = runShell(page.code('make-tokens'), exampleSettings())
    await made.exited
    const [connection = '', subscription = ''] = made.lines
    const raw = await RawClient.connect(`${node.wsUrl}/ws/room?events=join`, { token: connection })
    expect(JSON.parse(await raw.nextText())).toMatchObject({ user: 'alice' })
    const sdk = await SdkClient.connect(node.wsUrl, { token: 'change-me' })
    afterThisTest(() => sdk.close())
    await sdk.subscribe('$staff', { token: subscription })
  })
})
