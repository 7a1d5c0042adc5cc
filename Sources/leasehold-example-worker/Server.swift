import Dispatch
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// The listener, its one event loop and the signals.
///
/// One loop for everything: what counts jobs and what ends them can then never disagree about the order.
struct Server {
    var host: String
    var port: Int
    var defaults: Work
    var alwaysCloses: Bool
    var readyFile: String?
    var ledger: Ledger

    /// Serves until SIGTERM or SIGINT came and no job is in hand. Throws if it cannot listen.
    func run() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let (ledger, defaults, alwaysCloses) = (ledger, defaults, alwaysCloses)
        let listener = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(BackPressureHandler())
                    try pipeline.configureHTTPServerPipeline(withOutboundHeaderValidation: false)
                    try pipeline.addHandler(JobHandler(ledger: ledger, defaults: defaults, alwaysCloses: alwaysCloses))
                }
            }
            .bind(host: host, port: port).wait()
        for number in [SIGTERM, SIGINT] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            // Its own handler holds it: a variable of this function, which never returns, ends early in an optimised build.
            source.setEventHandler { [source] in
                withExtendedLifetime(source) { listener.close().whenComplete { _ in ledger.drain() } }
            }
            source.resume()
        }
        if let readyFile { try announce(listener.localAddress, in: readyFile) }
        try listener.closeFuture.wait()
        while true { pause() }  // the ledger ends the process after its last job
    }

    /// Writes `host port pid` to a new file of that name, whole or not at all.
    private func announce(_ address: SocketAddress?, in file: String) throws {
        let text = "\(host) \(address?.port ?? port) \(getpid())\n"
        let draft = "\(file).\(getpid())"
        guard let stream = unsafe fopen(draft, "w") else { throw IOError(errnoCode: errno, reason: "open \(draft)") }
        unsafe fputs(text, stream)
        guard unsafe fclose(stream) == 0, rename(draft, file) == 0 else { throw IOError(errnoCode: errno, reason: "write \(file)") }
    }
}
