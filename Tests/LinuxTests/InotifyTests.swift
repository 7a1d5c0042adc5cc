import CLinux
import Foundation
import Linux
import Testing

@Suite struct InotifyTests {
    @Test func whatHappensToAFileIsToldInOrder() throws {
        let path = NSTemporaryDirectory() + "leasehold-inotify-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let inotify = try Inotify()
        let watch = try inotify.watch(path, [.created, .closedAfterWrite, .movedFrom, .movedTo, .deleted, .selfDeleted])
        #expect(try inotify.watch(path, [.created, .closedAfterWrite, .movedFrom, .movedTo, .deleted, .selfDeleted]) == watch)
        #expect(try inotify.read().isEmpty)
        close(open("\(path)/a", O_CREAT | O_WRONLY, 0o600))
        #expect(rename("\(path)/a", "\(path)/b") == 0)
        #expect(unlink("\(path)/b") == 0)
        #expect(rmdir(path) == 0)
        let events = try inotify.read()
        #expect(events.map(\.name) == ["a", "a", "a", "b", "b", "", ""])
        #expect(events.map(\.mask) == [.created, .closedAfterWrite, .movedFrom, .movedTo, .deleted, .selfDeleted, .ignored])
        #expect(events.allSatisfy { $0.watch == watch })
        inotify.unwatch(watch)
    }

    @Test func onlyDirectoriesAreWatched() throws {
        let inotify = try Inotify()
        #expect(#expect(throws: SystemError.self) { try inotify.watch("/etc/passwd", .created) }?.errno == ENOTDIR)
        #expect(#expect(throws: SystemError.self) { try inotify.watch("/nowhere", .created) }?.isNoSuchFile == true)
    }
}
