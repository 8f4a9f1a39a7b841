import { describe, expect, it } from 'vitest'
import type { Outcome } from '../faults/fault.js'
import type { LedgerReport } from '../faults/ledger/ledger.js'
import { jsonReport, markdownReport, progressLine, rowsOf, tableOf } from '../faults/report.js'

const NO_VIOLATIONS = { P1: 0, P2: 0, P3: 0, P4: 0, P5: 0, P6: 0, P7: 0, P8: 0, P9: 0, P10: 0 }
const LEDGER: LedgerReport = {
  deliveries: 1_000,
  acknowledged: 100,
  refused: 2,
  epochs: 1,
  told: 3,
  gapsTold: 0,
  recoveries: 1_999,
  recoverable: 2_000,
  violations: NO_VIOLATIONS,
  described: [],
}
const OUTCOME: Outcome = {
  fault: 'node-crash',
  topology: 'one',
  seed: 1,
  ledger: LEDGER,
  publishSilenceMs: 1_240,
  hearSilenceMs: 90,
  slowestAnswerMs: 10,
  readiness: ['200 ok'],
  failures: [],
  log: [],
  durationMs: 20_000,
}
const FAILED: Outcome = {
  ...OUTCOME,
  seed: 2,
  ledger: {
    ...LEDGER,
    violations: { ...NO_VIOLATIONS, P1: 2, P9: 1 },
    described: [
      { property: 'P1', channel: 'stream:0', text: 'client 0 lost it', trail: ['subscribed at a 0'] },
    ],
  },
  publishSilenceMs: 500,
  readiness: ['200 ok', '200 degraded redis_unreachable'],
  failures: ['a publish was answered after 9000 ms, more than 3500 ms'],
  log: ['node 0: {"level":"warn"}'],
}
const HEAD = { date: '2026-11-30', machine: '2 cores', command: 'npm run faults', minutes: 3 }

describe('the report of fault runs', () => {
  it('has a row for each fault on a topology, with the sum of counts and the longest times', () => {
    const rows = rowsOf([OUTCOME, FAILED, { ...OUTCOME, topology: 'sentinel' }])
    expect(rows).toMatchObject([
      {
        fault: 'node-crash',
        topology: 'one',
        seeds: [1, 2],
        passed: 1,
        deliveries: 2_000,
        lost: 2,
        told: 6,
        others: 'P9: 1',
        publishSilenceMs: 1_240,
        readiness: ['200 ok', '200 degraded redis_unreachable'],
      },
      { topology: 'sentinel', seeds: [1], passed: 1 },
    ])
  })

  it('never rounds a share of recovered subscribers up to all', () => {
    expect(tableOf(rowsOf([OUTCOME]))).toContain('| 99.95 % of 2,000 |')
    const almost = { ...LEDGER, recoveries: 99_999, recoverable: 100_000 }
    expect(tableOf(rowsOf([{ ...OUTCOME, ledger: almost }]))).toContain('| 99.99 % of 100,000 |')
  })

  it('has each state of /ready once, with all of its reasons', () => {
    const readiness = ['200 ok', '200 degraded relay_silent', '200 degraded redis_busy relay_silent']
    expect(tableOf(rowsOf([{ ...OUTCOME, readiness }]))).toContain(
      '| 200 ok; 200 degraded (redis_busy, relay_silent) |',
    )
  })

  it('says of a failed run what was violated, with the trail, the log and how to run it again', () => {
    const report = markdownReport(HEAD, [OUTCOME, FAILED], [])
    expect(report).toContain('2 runs, 1 failed, 2,000 deliveries')
    const section = report.split('## Failed')[1]
    for (const part of [
      'seed 2',
      'a publish was answered after 9000 ms',
      'P9 (every acknowledged publication is in the history): 1 times',
      'P1 stream:0: client 0 lost it\n    subscribed at a 0',
      '{"level":"warn"}',
      'npm run faults -- node-crash --topology one --seed 2',
    ]) {
      expect(section).toContain(part)
    }
  })

  it('says what was not run, and why', () => {
    const skipped = [{ fault: 'shard-killed', topology: 'several', reason: 'this build does not support it' }]
    expect(markdownReport(HEAD, [OUTCOME], skipped)).toContain(
      '- `shard-killed` on several: this build does not support it',
    )
    expect(JSON.parse(jsonReport(HEAD, [OUTCOME], skipped))).toMatchObject({ skipped, runs: [{ seed: 1 }] })
  })

  it('has one line of progress for each run', () => {
    expect(progressLine(OUTCOME)).toMatch(
      /^pass node-crash on one, seed 1: 1,000 deliveries, 100 acknowledged, 2 not, [^\n]*20\.0 s$/,
    )
    expect(progressLine(FAILED)).toMatch(/^FAIL .* — P1 2; P9 1; a publish was answered after/)
  })
})
