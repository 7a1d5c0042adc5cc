import CLinux
import Foundation
import Linux
import TestKit
import Testing

@Suite struct SpawnTests {
    /// Rule 11 for descriptors that exist twice: we ignore SIGPIPE, and what is ignored is inherited by whoever is started (execve(2)).
    @Test func aChildDiesOfABrokenPipeAsAnyProgramDoes() throws {
        _ = lh_ignore_sigpipe()
        let pid = try Spawn(path: "/bin/sh", arguments: ["sh", "-c", "kill -PIPE $$; exit 7"], environment: []).start()
        var status: Int32 = 0
        #expect(waitpid(pid, &status, 0) == pid)
        #expect(status & 0x7f == SIGPIPE, "it went on, and ended with \(status >> 8)")
    }
}
