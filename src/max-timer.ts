/** The longest delay of a timer of Node, 24.8 days: with a longer one it fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1
