import ArgumentParser
import Foundation
import ServiceKit

/// `leasehold cache …`.
struct CacheCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache", abstract: "Look into the asset cache, and change what it keeps.",
        subcommands: [Stats.self, Purge.self, Warm.self, Verify.self])

    struct Stats: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What it has served, and the hosts that are asked for most.")

        @OptionGroup var options: DaemonOptions
        @Flag(help: "As JSON.") var json = false

        func run() throws {
            do throws(Operator.Failure) {
                let report = try Operator(options.loaded).report(AssetStatsReport.self, from: .assetCache, .assets("stats", []))
                if json {
                    let encoder = JSONEncoder()
                    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                    guard let data = try? encoder.encode(report) else { return }
                    return Terminal.write(String(decoding: data, as: UTF8.self) + "\n")
                }
                let counters = Table(
                    ["COUNTER", "VALUE"],
                    rows: report.counters.sorted { $0.key < $1.key }.map { [Cell($0.key), Cell(Int(clamping: $0.value))] })
                let hosts = Table(
                    ["HOST", "REQUESTS", "HITS", "RATE"],
                    rows: report.hosts.map { host in
                        let rate = host.requests > 0 ? host.hits * 100 / host.requests : 0
                        return [Cell(host.host), Cell(Int(clamping: host.requests)), Cell(Int(clamping: host.hits)), Cell("\(rate) %")]
                    })
                Terminal.write(counters.render(coloured: Terminal.hasColour))
                if !report.hosts.isEmpty { Terminal.write("\n" + hosts.render(coloured: Terminal.hasColour)) }
            } catch {
                throw error.exit
            }
        }
    }

    struct Purge: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Forget the responses of a URL, or of all that begin so.")

        @OptionGroup var options: DaemonOptions
        @Argument(help: "A URL; with * at its end, the beginning of URLs.") var url: String

        func run() throws { try Operator(options).order(.assetCache, .assets("purge", [url])) }
    }

    struct Warm: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ask for URLs now, so that they are here when somebody wants them.")

        @OptionGroup var options: DaemonOptions
        @Argument(help: "URLs.") var urls: [String]

        func run() throws { try Operator(options).order(.assetCache, .assets("warm", urls)) }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Compare every blob with its SHA-256, in the background.")

        @OptionGroup var options: DaemonOptions

        func run() throws { try Operator(options).order(.assetCache, .assets("verify", [])) }
    }
}
