import CLinux
import Linux
import Model
import TestKit

/// A dispatcher's place: its listening socket is the test's, as it is systemd's, and outlives every process that sits there.
final class Seat {
    let fleet: Fleet
    let address: SocketAddress
    private let name: String
    private let listener: Descriptor

    /// Opens the listener `name` of the configuration, and starts the first dispatcher.
    init(_ fleet: Fleet, _ name: String) throws {
        self.fleet = fleet
        self.name = name
        listener = try Sockets.listen(lh_address(high: 0, low: 0x7f00_0001, port: 0, family: 4), receiveBuffer: 64 * 1024)
        let bound = lh_local_address(listener.raw)
        guard let address = SocketAddress(ip: "127.0.0.1", port: bound.port) else { throw TestFailure("no address") }
        self.address = address
        try sit()
    }

    /// A new process in the seat, ready when this returns.
    func sit(_ environment: [String: String] = [:]) throws {
        try fleet.launch(.dispatcher, sockets: [(name, listener.raw)], environment: environment)
        try fleet[.dispatcher].waitForNotification("READY=1")
    }

    /// kill -9 and a successor that has adopted everything.
    func kill(_ environment: [String: String] = [:]) throws {
        try fleet[.dispatcher].kill()
        try sit(environment)
    }

    /// SIGUSR2, and a successor that has adopted everything.
    func handOver() throws {
        try fleet[.dispatcher].signal(SIGUSR2)
        let exit = try fleet[.dispatcher].waitForExit()
        guard exit == .status(0) else { throw TestFailure("handing over ended with \(exit)") }
        try sit()
    }

    func call(receiveBuffer: Int32? = nil) throws -> RawCaller { try RawCaller(to: address, receiveBuffer: receiveBuffer) }

    /// Starts the core processes with a dispatcher in a seat, runs `body`, and ends everything.
    static func run<T>(_ configuration: String, listener: String = "http", _ body: (Fleet, Seat) throws -> T) throws -> T {
        try Fleet.run(configuration, [.watcher, .poolKeeper]) { fleet in try body(fleet, try Seat(fleet, listener)) }
    }
}
