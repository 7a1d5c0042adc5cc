import ArgumentParser

/// `leasehold completions SHELL`.
struct Completions: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a completion script for a shell.",
        discussion: """
            bash: leasehold completions bash > /etc/bash_completion.d/leasehold
            zsh:  leasehold completions zsh > /usr/local/share/zsh/site-functions/_leasehold
            fish: leasehold completions fish > /etc/fish/completions/leasehold.fish
            """)

    enum Shell: String, CaseIterable, ExpressibleByArgument {
        case bash
        case zsh
        case fish
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() {
        let known: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        Terminal.write(Leasehold.completionScript(for: known) + "\n")
    }
}
