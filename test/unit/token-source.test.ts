import { describe, expect, it } from 'vitest'
import { chooseSubprotocol, findToken, type TokenSource } from '../../src/auth/token-source.js'

function handshake(headers: Readonly<Record<string, string>>, query = ''): TokenSource {
  return {
    header: (name) => headers[name],
    queryParameter: (name) => new URLSearchParams(query).get(name) ?? undefined,
  }
}

const all = {
  'x-auth-token': 'from-header',
  authorization: 'Bearer from-bearer',
  'sec-websocket-protocol': 'chat, token.from-subprotocol',
}

describe('the token of a handshake', () => {
  it('comes from the configured header first', () => {
    expect(findToken(handshake(all, 'token=from-query'), 'X-Auth-Token')).toBe('from-header')
    expect(findToken(handshake({ ...all, 'x-monitor-token': 'other' }), 'X-Monitor-Token')).toBe('other')
  })

  it('comes from Authorization second', () => {
    const { authorization, 'sec-websocket-protocol': subprotocol } = all
    const source = handshake({ authorization, 'sec-websocket-protocol': subprotocol }, 'token=from-query')
    expect(findToken(source, 'X-Auth-Token')).toBe('from-bearer')
  })

  it('comes from the query third', () => {
    const source = handshake({ 'sec-websocket-protocol': 'token.from-subprotocol' }, 'a=1&token=from%20query')
    expect(findToken(source, 'X-Auth-Token')).toBe('from query')
  })

  it('comes from a subprotocol last', () => {
    const source = handshake({ 'sec-websocket-protocol': 'chat,token.a.b.c , token.second' })
    expect(findToken(source, 'X-Auth-Token')).toBe('a.b.c')
  })

  it('is found behind an empty header', () => {
    expect(findToken(handshake({ 'x-auth-token': '' }, 'token=from-query'), 'X-Auth-Token')).toBe(
      'from-query',
    )
  })

  it('is undefined when none of them has one', () => {
    expect(findToken(handshake({}), 'X-Auth-Token')).toBeUndefined()
    expect(findToken(handshake({ 'sec-websocket-protocol': 'chat, tokens' }), 'X-Auth-Token')).toBeUndefined()
  })

  it.each(['bearer one', 'BEARER one', 'Bearer   one  '])(
    'is found in Authorization: %j',
    (authorization) => {
      expect(findToken(handshake({ authorization }), 'X-Auth-Token')).toBe('one')
    },
  )

  it.each(['Basic one', 'one', 'Bearer', 'Bearer ', 'Bearer one two', 'XBearer one', ''])(
    'is not found in Authorization: %j',
    (authorization) => expect(findToken(handshake({ authorization }), 'X-Auth-Token')).toBeUndefined(),
  )
})

describe('the subprotocol in the answer', () => {
  it.each([
    ['chat', 'chat'],
    ['chat, superchat', 'chat'],
    ['token.secret, chat', 'chat'],
    ['chat,token.secret', 'chat'],
    [' , ,chat', 'chat'],
  ])('for %j is %j, which is no token', (offered, chosen) => {
    expect(chooseSubprotocol(handshake({ 'sec-websocket-protocol': offered }))).toBe(chosen)
  })

  it('is the token only when nothing else is offered, since a browser needs an answer', () => {
    expect(chooseSubprotocol(handshake({ 'sec-websocket-protocol': 'token.secret' }))).toBe('token.secret')
  })

  it('is empty when none is offered', () => {
    expect(chooseSubprotocol(handshake({}))).toBe('')
    expect(chooseSubprotocol(handshake({ 'sec-websocket-protocol': ' , ' }))).toBe('')
  })
})
