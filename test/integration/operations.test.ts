import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'

describe('the internal listener', () => {
  let node: FanfareProcess
  beforeAll(async () => {
    node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'secret' })
  })
  afterAll(() => node.child.stop())

  it('answers that the node is healthy and ready', async () => {
    for (const path of ['/health', '/ready']) {
      const response = await fetch(`${node.internalUrl}${path}`)
      expect(response.status).toBe(200)
      expect(await response.json()).toEqual({ status: 'ok' })
    }
  })

  it('exposes metrics without any complaint of promtool', async () => {
    const response = await fetch(`${node.internalUrl}/metrics`)
    expect(response.headers.get('content-type')).toContain('text/plain')
    const exposition = await response.text()
    for (const name of [
      'fanfare_build_info',
      'fanfare_relay_probe_seconds',
      'process_open_fds',
      'nodejs_eventloop',
    ]) {
      expect(exposition).toContain(name)
    }
    const { stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: exposition })
    expect(`${stdout}${stderr}`).toBe('')
  })

  it('answers HEAD without a body', async () => {
    const response = await fetch(`${node.internalUrl}/health`, { method: 'HEAD' })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('')
  })

  it('answers other paths with 404 and other methods with 405', async () => {
    expect((await fetch(`${node.internalUrl}/api/info`)).status).toBe(404)
    expect((await fetch(`${node.internalUrl}/metrics`, { method: 'POST' })).status).toBe(405)
  })

  it('cannot be reached through the public port', async () => {
    for (const path of ['/metrics', '/health', '/ready']) {
      expect((await fetch(`${node.httpUrl}${path}`)).status).toBe(404)
    }
  })
})
