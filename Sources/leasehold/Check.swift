import ArgumentParser
import ServiceKit

/// `leasehold check`: is the file right, and what does it mean with every default?
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration file and print what is in force, with defaults.",
        discussion: "What it prints is a valid configuration file. Errors go to standard error, one line each, and the exit code is 78.")

    @OptionGroup var options: DaemonOptions

    @Argument(
        help: ArgumentHelp("The file; without it, the one of --config.", valueName: "file"), completion: .file(extensions: ["yaml", "yml"]))
    var file: String?

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Print only errors.")
    var quiet = false

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
        let described = try Operator.load(file ?? options.config).describe()
        if !quiet { Terminal.write(json ? described.json + "\n" : described.yaml) }
    }
}
