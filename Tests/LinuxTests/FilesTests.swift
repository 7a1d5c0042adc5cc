import CLinux
import Foundation
import Linux
import Testing

@Suite struct FilesTests {
    private final class Folder {
        let path = NSTemporaryDirectory() + "leasehold-files-\(UUID().uuidString)"
        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
        deinit {
            // What stays behind stays in the temporary directory.
            try? FileManager.default.removeItem(atPath: path)
        }
        func write(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)")) }
    }

    private func replace(_ path: String, _ pieces: [String]) throws(SystemError) {
        try Files.replace(path) { write in
            for piece in pieces { Array(piece.utf8).withUnsafeBytes { write($0) } }
        }
    }

    @Test func aReplacedFileIsTheNewOneWholeAndNothingStaysBeside() throws {
        let folder = try Folder()
        let path = "\(folder.path)/state"
        try replace(path, ["one ", "and ", "two"])
        #expect(try String(decoding: Files.read(path, limit: 100).bytes, as: UTF8.self) == "one and two")
        try replace(path, [])
        #expect(try Files.read(path, limit: 100).bytes.isEmpty)
        #expect(try Files.names(in: folder.path) == ["state"])
    }

    @Test func aFailedReplacementLeavesTheOldFile() throws {
        let folder = try Folder()
        let path = "\(folder.path)/state"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let error = #expect(throws: SystemError.self) { try replace(path, ["new"]) }
        #expect(error?.call == "rename")
        #expect(try Files.names(in: folder.path) == ["state"])
        #expect(throws: SystemError.self) { try replace("\(folder.path)/nowhere/state", ["new"]) }
    }

    @Test func onlyRegularFilesWithinTheLimitAreRead() throws {
        let folder = try Folder()
        try folder.write("a", "12345")
        #expect(try Files.read("\(folder.path)/a", limit: 5).bytes.count == 5)
        #expect(#expect(throws: SystemError.self) { try Files.read("\(folder.path)/a", limit: 4) }?.errno == EFBIG)
        #expect(mkfifo("\(folder.path)/pipe", 0o600) == 0)
        #expect(#expect(throws: SystemError.self) { try Files.read("\(folder.path)/pipe", limit: 4) }?.errno == EINVAL)
        #expect(#expect(throws: SystemError.self) { try Files.read("\(folder.path)/none", limit: 4) }?.isNoSuchFile == true)
        #expect(#expect(throws: SystemError.self) { try Files.names(in: "\(folder.path)/a") }?.errno == ENOTDIR)
    }

    @Test func aDirectoryOfManyNamesIsListedWhole() throws {
        let folder = try Folder()
        let names = Set((0..<3000).map { "a-rather-long-name-for-a-file-\($0)" })
        for name in names { close(open("\(folder.path)/\(name)", O_CREAT | O_WRONLY, 0o600)) }
        #expect(try Set(Files.names(in: folder.path)) == names)
    }

    @Test func aStampTellsVersionsApart() throws {
        let folder = try Folder()
        try folder.write("a", "1")
        let first = try Files.stamp("\(folder.path)/a")
        #expect(try Files.stamp("\(folder.path)/a") == first)
        try folder.write("a", "22")
        #expect(try Files.stamp("\(folder.path)/a") != first)
        #expect(symlink("a", "\(folder.path)/link") == 0)
        #expect(try Files.stamp("\(folder.path)/link").isRegular)
        #expect(try Files.stamp("\(folder.path)/link", followingLinks: false).isLink)
        #expect(try Files.stamp(folder.path).isDirectory)
    }

    @Test func touchingAFileMakesItYoung() throws {
        let folder = try Folder()
        try folder.write("a", "1")
        var times = [timeval(tv_sec: 1_000_000, tv_usec: 0), timeval(tv_sec: 1_000_000, tv_usec: 0)]
        #expect(utimes("\(folder.path)/a", &times) == 0)
        #expect(try Files.stamp("\(folder.path)/a").age > .seconds(1_000_000))
        try Files.touch("\(folder.path)/a")
        #expect(try Files.stamp("\(folder.path)/a").age < .seconds(600))
    }
}
