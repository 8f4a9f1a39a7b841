import type { Connection } from './connection.js'

/** The open connections of this node, by client id. */
export class Connections implements Iterable<Connection> {
  private readonly byClient = new Map<string, Connection>()

  get count(): number {
    return this.byClient.size
  }

  find(client: string): Connection | undefined {
    return this.byClient.get(client)
  }

  add(connection: Connection): void {
    this.byClient.set(connection.client, connection)
  }

  remove(connection: Connection): void {
    this.byClient.delete(connection.client)
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.byClient.values()
  }
}
