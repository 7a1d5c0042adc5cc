import DispatcherCore
import Model

// What the HTTP fuzz targets share; scripts/fuzz builds it with each of them.

let rules = HTTPRules(upgrades: ["websocket", "example/2"], expose: [.lease, .timing, .endpoint])
let friend = Peer(address: SocketAddress(v4: 0x0a00_0001, port: 4711), believed: .everything)
let stranger = Peer(address: SocketAddress(family: .v6, high: 0x2001_0db8_0000_0000, low: 1, port: 4711), believed: .anybody)
// libFuzzer calls from one thread; so too below.
nonisolated(unsafe) let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)

/// Calls `body` with a copy of exactly these bytes, so that the address sanitizer sees a read past their end.
func withExactBytes<Result>(_ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { copy.deallocate() }
    copy.copyMemory(from: bytes)
    return body(UnsafeRawBufferPointer(copy))
}

func same(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool { a.elementsEqual(b) }

func check(_ condition: Bool, _ message: StaticString) {
    if !condition { fatalError("\(message)") }
}

/// The bytes from `start` to `end`, which must lie in the buffer.
func part(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[start..<end])
}

func written(_ sink: ByteSink) -> UnsafeRawBufferPointer { part(UnsafeRawBufferPointer(storage), 0, sink.count) }
