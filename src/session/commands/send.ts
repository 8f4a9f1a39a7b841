/** A message to the application that nobody waits for. Nothing listens to it here; it is counted with all messages. */
export function handleSend(): undefined {}
