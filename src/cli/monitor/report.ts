import { type CpuInfo, cpus, freemem, totalmem } from 'node:os'
import { z } from 'zod'

/** What a monitor reports about its machine. */
export interface MachineReport {
  /** Name of the monitor, for people; by default host name and process id. */
  reporter: string
  /** Of all cores together over the last interval, 0 to 100. */
  cpuPercent: number
  memoryUsedBytes: number
  memoryTotalBytes: number
}

export type MachineSample = Omit<MachineReport, 'reporter'>

/** Version of the text form and of the binary form. */
const VERSION = 1

/** Longest name of a reporter in UTF-8; a longer one is cut. */
export const MAX_REPORTER_BYTES = 255

const MAGIC = Buffer.from('FM', 'latin1')
const HEADER_BYTES = 22

/** Measures the machine's CPU use since the last sample, and its memory now. */
export class MachineSampler {
  private last: CpuTimes

  constructor(private readonly readCpus: () => readonly CpuInfo[] = cpus) {
    this.last = cpuTimes(readCpus())
  }

  sample(): MachineSample {
    const now = cpuTimes(this.readCpus())
    const elapsed = now.total - this.last.total
    const idle = now.idle - this.last.idle
    this.last = now
    const memoryTotalBytes = totalmem()
    return {
      // Nothing elapses between two calls at once, or where the system reports no processors.
      cpuPercent: elapsed > 0 ? clampPercent((100 * (elapsed - idle)) / elapsed) : 0,
      memoryUsedBytes: memoryTotalBytes - freemem(),
      memoryTotalBytes,
    }
  }
}

interface CpuTimes {
  idle: number
  total: number
}

function cpuTimes(processors: readonly CpuInfo[]): CpuTimes {
  const sum = { idle: 0, total: 0 }
  for (const { times } of processors) {
    sum.idle += times.idle
    sum.total += times.user + times.nice + times.sys + times.idle + times.irq
  }
  return sum
}

/** Rounds to two decimals, which the binary form carries. Clamps, since a system's idle counter may run backwards. */
function clampPercent(percent: number): number {
  return Math.round(Math.min(100, Math.max(0, percent)) * 100) / 100
}

export function memoryPercent(report: MachineSample): number {
  return Math.round((10_000 * report.memoryUsedBytes) / report.memoryTotalBytes) / 100
}

/**
 * A report as the text of one frame, a JSON object:
 * `{"type":"report","version":1,"reporter":"host:42","cpuPercent":12.5,"memoryUsedBytes":…,"memoryTotalBytes":…,"memoryPercent":…}`.
 */
export function encodeTextReport(report: MachineReport): string {
  return JSON.stringify({
    type: 'report',
    version: VERSION,
    ...report,
    memoryPercent: memoryPercent(report),
  })
}

const byteCount = z.number().int().nonnegative()

const textReport = z
  .object({
    type: z.literal('report'),
    version: z.literal(VERSION),
    reporter: z.string().min(1),
    cpuPercent: z.number().min(0).max(100),
    memoryUsedBytes: byteCount,
    memoryTotalBytes: byteCount.positive(),
  })
  .refine((report) => report.memoryUsedBytes <= report.memoryTotalBytes)

/** The report in a text frame, or undefined when the text is something else. */
export function decodeTextReport(text: string): MachineReport | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return textReport.safeParse(value).data
}

/**
 * A report as one binary frame, numbers big-endian:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 2 | `FM` in ASCII |
 * | 2 | 1 | version of this layout, 1 |
 * | 3 | 2 | CPU use in hundredths of a percent, 0 to 10000 |
 * | 5 | 8 | memory used, bytes |
 * | 13 | 8 | memory in total, bytes, at least 1 |
 * | 21 | 1 | length n of the reporter's name, 1 to 255 |
 * | 22 | n | the reporter's name in UTF-8, which ends the frame |
 */
export function encodeBinaryReport(report: MachineReport): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + MAX_REPORTER_BYTES)
  // `encodeInto` writes whole characters only, so that a cut name stays valid UTF-8.
  const nameBytes = new TextEncoder().encodeInto(report.reporter, frame.subarray(HEADER_BYTES)).written
  MAGIC.copy(frame, 0)
  frame.writeUInt8(VERSION, 2)
  frame.writeUInt16BE(Math.round(report.cpuPercent * 100), 3)
  frame.writeBigUInt64BE(BigInt(report.memoryUsedBytes), 5)
  frame.writeBigUInt64BE(BigInt(report.memoryTotalBytes), 13)
  frame.writeUInt8(nameBytes, 21)
  return frame.subarray(0, HEADER_BYTES + nameBytes)
}

/** The report in a binary frame, or undefined when the bytes are something else. */
export function decodeBinaryReport(frame: Buffer): MachineReport | undefined {
  const isReport = frame.length > HEADER_BYTES && frame.subarray(0, 2).equals(MAGIC) && frame[2] === VERSION
  if (!isReport || frame.length !== HEADER_BYTES + frame.readUInt8(21)) return undefined
  const report = {
    reporter: utf8(frame.subarray(HEADER_BYTES)),
    cpuPercent: frame.readUInt16BE(3) / 100,
    memoryUsedBytes: Number(frame.readBigUInt64BE(5)),
    memoryTotalBytes: Number(frame.readBigUInt64BE(13)),
  }
  // The same check as for the text form: the numbers have the same bounds.
  return textReport.safeParse({ type: 'report', version: VERSION, ...report }).data
}

function utf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}
