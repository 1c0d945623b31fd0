/** A Polar H10 by Web Bluetooth: its ECG as frames of bytes. What they mean is `polar.js`'s to say. */

import { CONTROL, DATA, SERVICE, START, STOP } from "./polar.js";

/** Whether this browser can. */
export const able = () => Boolean(globalThis.navigator?.bluetooth);

/**
 * Lets the person choose a strap and starts its ECG.
 * @param {(bytes: ArrayBuffer) => void} onFrame Of every frame.
 * @param {() => void} onLost The connection is gone, and nobody asked for that.
 * @returns {Promise<() => Promise<void>>} Stops the recording and lets go of the strap.
 */
export async function connect(onFrame, onLost) {
  const { bluetooth } = navigator;
  if (!bluetooth) throw new Error("no Web Bluetooth");
  const device = await bluetooth.requestDevice({ filters: [{ namePrefix: "Polar H10" }], optionalServices: [SERVICE] });
  const server = await device.gatt.connect();
  let wanted = true;
  device.addEventListener("gattserverdisconnected", () => wanted && onLost());
  try {
    const service = await server.getPrimaryService(SERVICE);
    const [control, data] = [await service.getCharacteristic(CONTROL), await service.getCharacteristic(DATA)];
    data.addEventListener("characteristicvaluechanged", () => {
      const { value } = data;
      if (value) onFrame(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength));
    });
    await data.startNotifications();
    await control.startNotifications();
    await control.writeValueWithResponse(START);
    return async () => {
      wanted = false;
      if (device.gatt.connected) await control.writeValueWithResponse(STOP);
      device.gatt.disconnect();
    };
  } catch (error) {
    wanted = false;
    device.gatt.disconnect();
    throw error;
  }
}
