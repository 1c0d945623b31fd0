/** What an AudioWorklet has, which TypeScript's libraries do not describe. */
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, made: typeof AudioWorkletProcessor): void;

/** What a module of both page and worker draws on; a worker never does. */
type HTMLCanvasElement = OffscreenCanvas;
type CanvasRenderingContext2D = OffscreenCanvasRenderingContext2D;
