/** How long tests wait for what no event tells: a little less than a test may take, so that the failure says what never came. */
export const PATIENCE = { timeout: 100_000 }
