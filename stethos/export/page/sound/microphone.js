/** Hands on what a microphone hears, a tenth of a second at a time: what an AudioWorklet runs. */
class Microphone extends AudioWorkletProcessor {
  /** @type {number[]} */
  held = [];

  /** @param {Float32Array[][]} inputs Of each its channels. */
  process([[heard]]) {
    if (heard) this.held.push(...heard);
    if (this.held.length >= sampleRate / 10) this.port.postMessage(Float32Array.from(this.held.splice(0)));
    return true;
  }
}
registerProcessor("microphone", Microphone);
