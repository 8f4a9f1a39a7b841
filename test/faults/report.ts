import { isPassed, type Outcome } from './fault.js'
import { PROPERTIES, type Property } from './ledger/events.js'

/** A fault on a topology that could not be run, and why. */
export interface Skipped {
  readonly fault: string
  readonly topology: string
  readonly reason: string
}

/** What a report says of how it came about. */
export interface ReportHead {
  readonly date: string
  readonly machine: string
  readonly command: string
  readonly minutes: number
}

/** A fault on a topology over its seeds. Counts are sums, times the longest. */
export interface Row {
  readonly fault: string
  readonly topology: string
  readonly seeds: readonly number[]
  readonly deliveries: number
  readonly lost: number
  readonly told: number
  readonly duplicates: number
  readonly reorders: number
  readonly contradictions: number
  readonly falselyRecovered: number
  readonly recoveries: number
  readonly recoverable: number
  /** Violations of other properties, for example `P9: 3`. */
  readonly others: string
  readonly publishSilenceMs: number
  readonly hearSilenceMs: number
  readonly slowestAnswerMs: number
  readonly readiness: readonly string[]
  readonly passed: number
}

/** The properties that have a column of their own, or show in one. */
const OF_A_COLUMN: readonly Property[] = ['P1', 'P2', 'P3', 'P4', 'P5']

export function rowsOf(outcomes: readonly Outcome[]): readonly Row[] {
  const groups = new Map<string, Outcome[]>()
  for (const outcome of outcomes) {
    const key = `${outcome.fault} ${outcome.topology}`
    groups.set(key, [...(groups.get(key) ?? []), outcome])
  }
  return [...groups.values()].map(rowOf)
}

function rowOf(outcomes: readonly Outcome[]): Row {
  const sum = (count: (outcome: Outcome) => number) =>
    outcomes.reduce((total, outcome) => total + count(outcome), 0)
  const longest = (time: (outcome: Outcome) => number) => Math.round(Math.max(...outcomes.map(time)))
  const violations = (property: Property) => sum(({ ledger }) => ledger.violations[property])
  const others = (Object.keys(PROPERTIES) as Property[])
    .filter((property) => !OF_A_COLUMN.includes(property) && violations(property) > 0)
    .map((property) => `${property}: ${violations(property)}`)
  return {
    fault: outcomes[0]?.fault ?? '',
    topology: outcomes[0]?.topology ?? '',
    seeds: outcomes.map(({ seed }) => seed),
    deliveries: sum(({ ledger }) => ledger.deliveries),
    lost: violations('P1'),
    told: sum(({ ledger }) => ledger.told),
    duplicates: violations('P2'),
    reorders: violations('P3'),
    contradictions: violations('P4'),
    falselyRecovered: violations('P5'),
    recoveries: sum(({ ledger }) => ledger.recoveries),
    recoverable: sum(({ ledger }) => ledger.recoverable),
    others: others.join(', '),
    publishSilenceMs: longest(({ publishSilenceMs }) => publishSilenceMs),
    hearSilenceMs: longest(({ hearSilenceMs }) => hearSilenceMs),
    slowestAnswerMs: longest(({ slowestAnswerMs }) => slowestAnswerMs),
    readiness: [...new Set(outcomes.flatMap(({ readiness }) => readiness))],
    passed: outcomes.filter(isPassed).length,
  }
}

/** The columns of the report's table, and what each cell of a row says. */
export const COLUMNS: readonly (readonly [head: string, cell: (row: Row) => string])[] = [
  ['fault', ({ fault }) => `\`${fault}\``],
  ['topology', ({ topology }) => topology],
  ['passed', ({ passed, seeds }) => `${passed} of ${seeds.length}`],
  ['deliveries', ({ deliveries }) => count(deliveries)],
  ['lost untold', ({ lost }) => count(lost)],
  ['told', ({ told }) => count(told)],
  ['duplicates', ({ duplicates }) => count(duplicates)],
  ['reorders', ({ reorders }) => count(reorders)],
  ['P4', ({ contradictions }) => count(contradictions)],
  ['false `recovered`', ({ falselyRecovered }) => count(falselyRecovered)],
  [
    'recovered of recoverable',
    ({ recoveries, recoverable }) => `${percent(recoveries, recoverable)} of ${count(recoverable)}`,
  ],
  ['other properties', ({ others }) => others],
  ['publishing silent', ({ publishSilenceMs }) => seconds(publishSilenceMs)],
  ['a subscriber silent', ({ hearSilenceMs }) => seconds(hearSilenceMs)],
  ['slowest answer', ({ slowestAnswerMs }) => seconds(slowestAnswerMs)],
  ['`/ready`', ({ readiness }) => readinessCell(readiness)],
]

/** The table of a report, in Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const lines = [COLUMNS.map(([head]) => head), COLUMNS.map(() => '---')]
  for (const row of rows) lines.push(COLUMNS.map(([, cell]) => cell(row)))
  return lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('')
}

/** A report for people: the table, and what it takes to find out why a run failed. */
export function markdownReport(
  head: ReportHead,
  outcomes: readonly Outcome[],
  skipped: readonly Skipped[],
): string {
  const rows = rowsOf(outcomes)
  const failed = outcomes.filter((outcome) => !isPassed(outcome))
  const deliveries = rows.reduce((sum, row) => sum + row.deliveries, 0)
  const parts = [
    '# Faults\n',
    `${head.date}, ${head.machine}: \`${head.command}\`, ${head.minutes} minutes.\n`,
    `${outcomes.length} runs, ${failed.length} failed, ${count(deliveries)} deliveries.\n`,
    tableOf(rows),
  ]
  if (skipped.length > 0) {
    const lines = skipped.map(({ fault, topology, reason }) => `- \`${fault}\` on ${topology}: ${reason}\n`)
    parts.push('## Not run\n', lines.join(''))
  }
  if (failed.length > 0) parts.push('## Failed\n', ...failed.map(failureSection))
  return parts.join('\n')
}

/** The same for programs. */
export function jsonReport(
  head: ReportHead,
  outcomes: readonly Outcome[],
  skipped: readonly Skipped[],
): string {
  return `${JSON.stringify({ ...head, rows: rowsOf(outcomes), runs: outcomes, skipped }, undefined, 2)}\n`
}

function failureSection(outcome: Outcome): string {
  return `### \`${outcome.fault}\` on ${outcome.topology}, seed ${outcome.seed}\n\n\`\`\`\n${describeFailure(outcome)}\n\`\`\`\n`
}

/** Why a run failed: demands that were not met, violations with the trail of the subscriber, the nodes' warnings. */
export function describeFailure({ fault, topology, seed, ledger, failures, log }: Outcome): string {
  const counts = Object.entries(ledger.violations).filter(([, violations]) => violations > 0)
  return [
    ...failures,
    ...counts.map(
      ([property, violations]) => `${property} (${PROPERTIES[property as Property]}): ${violations} times`,
    ),
    ...ledger.described.flatMap(({ property, channel, text, trail }) => [
      `${property} ${channel}: ${text}`,
      ...trail.map((step) => `    ${step}`),
    ]),
    ...log,
    `again: npm run faults -- ${fault} --topology ${topology} --seed ${seed}`,
  ].join('\n')
}

/** One line of progress for a run that is over. */
export function progressLine(outcome: Outcome): string {
  const { fault, topology, seed, ledger, publishSilenceMs, hearSilenceMs, durationMs } = outcome
  const violated = Object.entries(ledger.violations)
    .filter(([, violations]) => violations > 0)
    .map(([property, violations]) => `${property} ${violations}`)
  const problems = [...violated, ...outcome.failures]
  return [
    isPassed(outcome) ? 'pass' : 'FAIL',
    `${fault} on ${topology}, seed ${seed}:`,
    `${count(ledger.deliveries)} deliveries,`,
    `${count(ledger.acknowledged)} acknowledged, ${count(ledger.refused)} not,`,
    `told ${ledger.told}, recovered ${ledger.recoveries} of ${ledger.recoverable},`,
    `publishing silent ${seconds(publishSilenceMs)}, a subscriber ${seconds(hearSilenceMs)},`,
    `${seconds(durationMs)}`,
    ...(problems.length > 0 ? [`— ${problems.join('; ')}`] : []),
  ].join(' ')
}

/** The states, each with all reasons that were seen with it. */
function readinessCell(readiness: readonly string[]): string {
  const reasonsOf = new Map<string, Set<string>>()
  for (const one of readiness) {
    const [status = '', state = '', ...reasons] = one.split(' ')
    const key = `${status} ${state}`
    reasonsOf.set(key, new Set([...(reasonsOf.get(key) ?? []), ...reasons]))
  }
  return [...reasonsOf]
    .map(([state, reasons]) => (reasons.size === 0 ? state : `${state} (${[...reasons].sort().join(', ')})`))
    .join('; ')
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}

/** Rounded down: what is not all of it is not 100 %. */
function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : `${(Math.floor((10_000 * part) / whole) / 100).toString()} %`
}
