import ArgumentParser
import Foundation
import ServiceKit
import Wire

/// `leasehold profiles …`.
struct ProfilesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profiles", abstract: "Browser profiles that the asset cache keeps.",
        subcommands: [List.self, Get.self, Remove.self, History.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The newest version of each profile.")

        @OptionGroup var options: DaemonOptions
        @Argument(help: "Only of this tenant.") var tenant: String?
        @Flag(help: "As JSON.") var json = false

        func run() throws {
            try ProfilesCommand.show(options, json, .assets("list", tenant.map { [$0] } ?? [])) { all in
                var last: [String: ProfileReport] = [:]
                for profile in all { last["\(profile.tenant)/\(profile.name)"] = profile }
                return last.values.sorted { ($0.tenant, $0.name) < ($1.tenant, $1.name) }
            }
        }
    }

    struct History: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The versions of one profile that are kept.")

        @OptionGroup var options: DaemonOptions
        @Argument var tenant: String
        @Argument var name: String
        @Flag(help: "As JSON.") var json = false

        func run() throws { try ProfilesCommand.show(options, json, .assets("history", [tenant, name])) { $0 } }
    }

    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a profile to standard output.", discussion: "Reads the asset cache's own files: as root, or as its user.")

        @OptionGroup var options: DaemonOptions
        @Argument var tenant: String
        @Argument var name: String
        @Option(help: "Another version than the newest.") var version: Int?

        func run() throws {
            let paths: [String]
            do throws(Operator.Failure) {
                paths = try Operator(options.loaded).report(
                    [String].self, from: .assetCache, .assets("get", [tenant, name] + (version.map { [String($0)] } ?? [])))
            } catch {
                throw error.exit
            }
            for path in paths {
                guard let file = FileHandle(forReadingAtPath: path) else {
                    throw Operator.Failure(status: ExitStatus.permission.rawValue, message: "\(path) cannot be read; run this as root").exit
                }
                while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
                    try FileHandle.standardOutput.write(contentsOf: piece)
                }
            }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove a profile with all its versions.")

        @OptionGroup var options: DaemonOptions
        @Argument var tenant: String
        @Argument var name: String

        func run() throws { try Operator(options).order(.assetCache, .assets("remove", [tenant, name])) }
    }

    fileprivate static func show(
        _ options: DaemonOptions, _ json: Bool, _ request: ControlRequest, _ choose: ([ProfileReport]) -> [ProfileReport]
    ) throws {
        do throws(Operator.Failure) {
            let some = choose(try Operator(options.loaded).report([ProfileReport].self, from: .assetCache, request))
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                guard let data = try? encoder.encode(some) else { return }
                return Terminal.write(String(decoding: data, as: UTF8.self) + "\n")
            }
            let table = Table(
                ["TENANT", "NAME", "VERSION", "BYTES", "WRITTEN", "BY"],
                rows: some.map { profile in
                    let date = Date(timeIntervalSince1970: Double(profile.written) / 1000)
                    return [
                        Cell(profile.tenant), Cell(profile.name), Cell(Int(profile.version)), Cell(Int(profile.size)),
                        Cell(date.formatted(.iso8601)), Cell(profile.lease ?? profile.key),
                    ]
                })
            Terminal.write(table.render(coloured: Terminal.hasColour))
        } catch {
            throw error.exit
        }
    }
}

extension DaemonOptions {
    /// The configuration that they name; ends the command where it is wrong.
    var loaded: Configuration {
        get throws(Operator.Failure) {
            do { return try Operator.load(config) } catch {
                throw Operator.Failure(status: ExitStatus.configuration.rawValue, message: "the configuration is wrong")
            }
        }
    }
}
