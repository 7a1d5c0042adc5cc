/// A listening socket with what answers there: shown, counted and drained alike, whatever is spoken.
protocol Entrance: Sendable {
    /// For people: the protocol.
    var transport: String { get }
    var openConnections: Int { get }
    var isDraining: Bool { get }
    /// Accepts no more, lets every connection finish its answer, and calls back once when none is left.
    func drain(_ then: @escaping @Sendable () -> Void)
}

extension Door: Entrance {
    var transport: String { "http" }
}
