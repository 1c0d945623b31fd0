/** What the page's scripts find in a browser and TypeScript's libraries do not describe. */
declare var STETHOS_FILES: Record<string, any> | undefined;

/** Web Bluetooth, as far as a chest strap needs it. */
interface BluetoothCharacteristic extends EventTarget {
  readonly value?: DataView<ArrayBuffer>;
  startNotifications(): Promise<BluetoothCharacteristic>;
  writeValueWithResponse(value: BufferSource): Promise<void>;
}
interface BluetoothService {
  getCharacteristic(id: string): Promise<BluetoothCharacteristic>;
}
interface BluetoothServer {
  readonly connected: boolean;
  connect(): Promise<BluetoothServer>;
  disconnect(): void;
  getPrimaryService(id: string): Promise<BluetoothService>;
}
interface BluetoothDevice extends EventTarget {
  readonly gatt: BluetoothServer;
}
interface Navigator {
  readonly bluetooth?: {
    requestDevice(wanted: { filters: { namePrefix: string }[]; optionalServices: string[] }): Promise<BluetoothDevice>;
  };
}
