// @ts-check
/** Shapley values of a game, exact from what all 2ⁿ coalitions are worth:
 *
 *     φ_i = Σ_{S ⊆ N∖i} |S|! (n − |S| − 1)! / n! · [v(S ∪ i) − v(S)]        Σ φ = v(N) − v(∅) */

/** Whether a player is in a coalition, whose number in binary has the first player as its highest digit.
 * @param {number} coalition 0 to 2ⁿ − 1. @param {number} player @param {number} players n. */
export const holds = (coalition, player, players) => ((coalition >> (players - 1 - player)) & 1) === 1;

/**
 * @param {ArrayLike<number>} table What every coalition is worth, in the order of their numbers, `(2ⁿ · outputs,)`.
 * @param {number} players n. @param {number} outputs Numbers that a coalition is worth.
 * @returns {{values: Float64Array[], empty: Float64Array, full: Float64Array}} φ of each player, `(n, outputs)`, and
 *   what nobody and everybody is worth, `(outputs,)`.
 */
export function shapley(table, players, outputs) {
  const count = 2 ** players;
  if (table.length !== count * outputs || !Array.prototype.every.call(table, Number.isFinite)) {
    throw new Error(`An explanation needs ${count * outputs} finite scores; got ${table.length}, or some not finite.`);
  }
  const worth = (/** @type {number} */ c) => Float64Array.from({ length: outputs }, (_, k) => table[c * outputs + k]);
  const weight = [1 / players]; // by how many are in S
  for (let s = 1; s < players; s++) weight.push((weight[s - 1] * s) / (players - s));
  const values = Array.from({ length: players }, (_, player) => {
    const value = new Float64Array(outputs);
    for (let c = 0; c < count; c++) {
      if (holds(c, player, players)) continue;
      const [joined, share] = [c | (1 << (players - 1 - player)), weight[size(c)]];
      for (let k = 0; k < outputs; k++) value[k] += share * (table[joined * outputs + k] - table[c * outputs + k]);
    }
    return value;
  });
  return { values, empty: worth(0), full: worth(count - 1) };
}

/** How many are in a coalition. @param {number} coalition @returns {number} */
const size = (coalition) => (coalition ? (coalition & 1) + size(coalition >> 1) : 0);
