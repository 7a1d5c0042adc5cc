import ArgumentParser
import Foundation
import ServiceKit

/// Turns a source of endpoints and the scaler's local workers into one ordered feed.
struct Watcher: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-watcher",
        abstract: "Watch a source of endpoints and tell the pool-keeper of every change.", version: Version.current)

    @OptionGroup var options: DaemonOptions

    @Flag(help: "Ask the API server who we are and what it does not let us do, and end: 0, 69 unreachable, 77 refused, 78 configured wrongly.")
    var checkAccess = false

    @Flag(help: "With --check-access: print JSON.")
    var json = false

    func validate() throws {
        if json, !checkAccess { throw ValidationError("--json goes with --check-access") }
    }

    func run() throws {
        shareOneArena()
        if checkAccess { return try CheckAccess.run(options.config, json: json) }
        let service = try Service(.watcher, configurationPath: options.config, logLevel: options.logLevel)
        let shell = try Shell(service)
        try withExtendedLifetime(shell) { try service.run() }
    }
}

/// Lets all threads allocate from one arena of glibc's malloc; nothing happens with another C library.
///
/// The HTTP client's threads allocate what the loop's thread frees: reading 100,000 endpoints took 285 and 485 MiB with an arena for each
/// (two readings), 215 to 282 MiB with one (seven), and was not faster.
private func shareOneArena() {
    typealias Function = @convention(c) (Int32, Int32) -> Int32
    // Not in the headers that Swift sees, and absent elsewhere: looked up by name. M_ARENA_MAX of malloc.h.
    guard let address = dlsym(nil, "mallopt") else { return }
    _ = unsafeBitCast(address, to: Function.self)(-8, 1)
}

Watcher.main()
