import DispatcherCore
import Model

/// A chunked body of any bytes: one verdict however much is shown at a time, and no unseen byte is dropped.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    let whole = scan(bytes, as: .whole, window: .max)
    for treatment in [ChunkTreatment.whole, .withoutTrailers, .dataOnly] {
        for window in [1, 3, 64] {
            let other = scan(bytes, as: treatment, window: window)
            check(other.position == whole.position && other.verdict == whole.verdict, "another verdict")
        }
    }
    return 0
}

private func scan(_ bytes: UnsafeRawBufferPointer, as treatment: ChunkTreatment, window: Int) -> (position: Int, verdict: ChunkRun) {
    var scanner = ChunkScanner()
    var position = 0
    var shown = window
    while true {
        let view = part(bytes, position, position + min(shown, bytes.count - position))
        let run = withExactBytes(view) { scanner.run($0, as: treatment) }
        switch run {
        case .pass(let count):
            guard count <= UInt64(bytes.count - position) else { return (bytes.count, .needMore) }
            check(count > 0, "no progress")
            position += Int(count)
            shown = window
        case .drop(let count):
            check(count > 0 && count <= UInt64(view.count), "dropped unseen bytes")
            position += Int(count)
            shown = window
        case .needMore:
            if view.count == bytes.count - position { return (position, .needMore) }
            shown += 1
        case .end, .refused: return (position, run)
        }
    }
}
