import ArgumentParser
import Foundation
import Linux
import ServiceKit

/// `leasehold check`: is the file right, and what does it mean with every default?
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration file and print what is in force, with defaults.",
        discussion: """
            What it prints is a valid configuration file. Errors go to standard error, one line each, and the exit code is 78.
            With source.kubernetes the API server is asked, too, unless --offline says not to: who we are there, and which rights are \
            missing. The exit code is 77 when it refuses something and 69 when it cannot be reached. With --json that is a second line.
            """)

    @OptionGroup var options: DaemonOptions

    @Argument(
        help: ArgumentHelp("The file; without it, the one of --config.", valueName: "file"), completion: .file(extensions: ["yaml", "yml"]))
    var file: String?

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Print only errors.")
    var quiet = false

    @Flag(help: "Ask no API server.")
    var offline = false

    @Flag(help: "Print every key that there is, with its default, and read no file.")
    var keys = false

    func run() throws {
        if keys {
            let table = Table(
                ["KEY", "VALUE", "DEFAULT", "MEANING"],
                rows: Configuration.keys.map { key in
                    [Cell(key.path), Cell(key.type), Cell(key.isRequired ? "required" : key.defaultText), Cell(key.sentence)]
                })
            return Terminal.write(table.render(coloured: Terminal.hasColour))
        }
        let path = file ?? options.config
        let configuration = try Operator.load(path)
        let described = configuration.describe()
        if !quiet { Terminal.write(json ? described.json + "\n" : described.yaml) }
        if configuration.source?.kubernetes != nil, !offline { throw try askServer(path) }
    }

    /// The watcher alone has what it takes to speak to an API server; this command becomes it.
    private func askServer(_ path: String) throws -> ExitCode {
        guard let program = Executable.find("leasehold-watcher") else {
            Terminal.error("leasehold-watcher, which asks the API server, is neither beside this command nor in PATH; install it, or say --offline")
            return ExitCode(ExitStatus.unavailable.rawValue)
        }
        if quiet {
            let null = open("/dev/null", O_WRONLY)
            guard null >= 0, dup2(null, 1) == 1 else { return ExitCode(ExitStatus.system.rawValue) }
        }
        let arguments = [program, "--check-access", "--config", path] + (json ? ["--json"] : [])
        // Ended by the exec, or with the process.
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        execv(program, &argv)
        Terminal.error("cannot start \(program): \(String(cString: strerror(errno)))")
        return ExitCode(ExitStatus.unavailable.rawValue)
    }
}
