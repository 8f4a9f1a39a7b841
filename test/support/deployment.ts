import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { z } from 'zod'
import { ROOT } from './repository.js'

/** The text of a shipped file. The path is from the root of the repository. */
export function shipped(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8')
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

/** The arguments that the shipped Redis is started with, without the program's name. */
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

/** The targets of the shipped Prometheus, by the name of their job. */
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

/** The one instruction of the shipped Dockerfile that the pattern matches. Throws unless there is exactly one. */
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
