import CLinux
import KubeTestServer
import Linux
import Model
import TestKit
import Testing

/// The test API server's own port, while it is down.
@Suite struct PortTests {
    /// ip(7): the range that the kernel chooses from, for one socket (Linux 6.3).
    private static let localPortRange: Int32 = 51

    /// A socket that is given `port` or none, wherever the kernel chooses.
    private static func only(_ port: UInt16) throws -> Descriptor {
        let socket = Descriptor(owning: Int32(try check(lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue)), "socket")))
        let range = Int32(bitPattern: UInt32(port) << 16 | UInt32(port))
        _ = try check(lh_set_option(socket.raw, Int32(IPPROTO_IP), localPortRange, range), "setsockopt")
        return socket
    }

    private static let canLimit = (try? only(40_000)) != nil

    @Test(.enabled(if: canLimit, "Linux 6.3 or newer"))
    func nobodyElseIsGivenThePortOfAServerThatIsDown() throws {
        let server = TestAPIServer()
        try server.start()
        defer { try? server.stop() }
        let port = UInt16(server.port)
        try server.stop()
        let listens = try Self.only(port)
        var any = SocketAddress.loopback(port: 0).system
        #expect(lh_bind(listens.raw, &any) == Int(-EADDRINUSE))
        let connects = try Self.only(port)
        let elsewhere = try TestWorker { _ in }
        defer { elsewhere.stop() }
        var there = elsewhere.address.system
        #expect(lh_connect(connects.raw, &there) == Int(-EADDRNOTAVAIL))
        try server.start()
        #expect(server.port == Int(port))
    }
}
