import DispatcherCore
import Model

/// A PROXY header of any bytes.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    withExactBytes(UnsafeRawBufferPointer(start: start, count: count)) { bytes in
        let whole = ProxyHeader.parse(bytes)
        let cut = withExactBytes(part(bytes, 0, count / 2)) { ProxyHeader.parse($0) }
        check(cut == .needMore || cut == whole, "another verdict for a prefix")
        guard case .header(let header) = whole else { return }
        check(header.length > 0 && header.length <= count, "out of bounds")
        var sink = ByteSink(storage)
        sink.appendProxyHeader(source: header.source, destination: header.destination)
        let again = ProxyHeader.parse(written(sink))
        let expected = ProxyHeader(length: sink.count, source: unmapped(header.source), destination: unmapped(header.destination))
        guard case .header(var read) = again else { return check(false, "what was written is no header") }
        read.source = unmapped(read.source)
        read.destination = unmapped(read.destination)
        check(read == expected, "written otherwise")
    }
    return 0
}

private func unmapped(_ address: SocketAddress?) -> SocketAddress? { Peer(address: address, believed: []).address }
