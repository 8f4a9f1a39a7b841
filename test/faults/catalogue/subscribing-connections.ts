import type { RedisUnderFault } from '../topologies.js'

/** Returns a function that tells whether Redis has closed one of the subscribing connections that there are now. */
export async function watchSubscribing(redis: RedisUnderFault): Promise<() => Promise<boolean>> {
  const before = await subscribing(redis)
  return async () => {
    const now = await subscribing(redis)
    return before.some((id) => !now.includes(id))
  }
}

async function subscribing(redis: RedisUnderFault): Promise<readonly string[]> {
  const list = String(await redis.admin(0).call('CLIENT', 'LIST', 'TYPE', 'pubsub'))
  return [...list.matchAll(/^id=(\d+) /gm)].map(([, id = '']) => id)
}
