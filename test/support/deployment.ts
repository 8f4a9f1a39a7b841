import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { z } from 'zod'

/** The top of the repository, where the shipped files are. */
export const TOP = fileURLToPath(new URL('../../', import.meta.url))

export function shipped(path: string): string {
  return readFileSync(`${TOP}${path}`, 'utf8')
}

const service = z.object({
  image: z.string(),
  build: z.object({ context: z.string(), dockerfile: z.string() }).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  ports: z.array(z.string()).optional(),
  volumes: z.array(z.string()).optional(),
  stop_grace_period: z.string().optional(),
  healthcheck: z.object({ test: z.array(z.string()) }),
})

export type ComposeService = z.infer<typeof service>

const compose = z.object({ services: z.record(z.string(), service) })

export function composeServices(): Record<string, ComposeService> {
  return compose.parse(parse(shipped('docker-compose.yml'), { merge: true })).services
}

export function composeService(name: string): ComposeService {
  const found = composeServices()[name]
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`)
  return found
}

/** What the shipped Redis is started with, besides the program's name. */
export function redisArguments(): string[] {
  return (composeService('redis').command ?? []).slice(1)
}

const prometheus = z.object({
  scrape_configs: z.array(
    z.object({
      job_name: z.string(),
      static_configs: z.array(z.object({ targets: z.array(z.string()) })),
    }),
  ),
})

/** What each job of the shipped Prometheus scrapes. */
export function scrapeTargets(): Record<string, string[]> {
  const jobs = prometheus.parse(parse(shipped('deploy/prometheus/prometheus.yml'))).scrape_configs
  return Object.fromEntries(
    jobs.map((job) => [job.job_name, job.static_configs.flatMap((config) => config.targets)]),
  )
}

/** The instructions of the shipped Dockerfile in order, continued lines joined and comments left out. */
export function dockerfileInstructions(): { name: string; value: string }[] {
  const text = shipped('deploy/Dockerfile')
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, '')
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', ...rest] = line.split(' ')
      return { name, value: rest.join(' ').trim() }
    })
}

/** The one instruction of the shipped Dockerfile that the pattern matches. */
export function dockerfileInstruction(name: string, pattern = /./): string {
  const found = dockerfileInstructions().filter(
    (instruction) => instruction.name === name && pattern.test(instruction.value),
  )
  const [only] = found
  if (only === undefined || found.length > 1) {
    throw new Error(`${found.length} instructions ${name} of the Dockerfile match ${pattern}`)
  }
  return only.value
}
