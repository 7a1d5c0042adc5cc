import CLinux
import Linux
import Model
import NIOCore
import ServiceKit

/// Every address at which a connection would reach our own listeners.
enum OwnAddresses {
    /// Wildcards stand for every address that this machine has now.
    static func of(_ listeners: [Int32]) -> Set<Model.SocketAddress> {
        var out: Set<Model.SocketAddress> = []
        for listener in listeners {
            guard let bound = Model.SocketAddress(system: lh_local_address(listener)) else { continue }
            out.insert(bound)
            guard bound.low == 0, bound.high == 0 else { continue }
            let all = ((try? System.enumerateDevices()) ?? []).compactMap { $0.address?.ipAddress } + ["127.0.0.1", "::1"]
            for text in all {
                if let address = Model.SocketAddress(ip: text.prefix { $0 != "%" }, port: bound.port) { out.insert(address) }
            }
        }
        return out
    }
}
