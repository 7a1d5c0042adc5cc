import Foundation
import Model
import Testing
import WatcherCore

@testable import leasehold_watcher

/// A real directory, real notifications, and the machine behind them.
@Suite struct DirectorySourceTests {
    /// A directory of its own, removed in the end.
    private final class Folder {
        let path: String

        init() throws {
            path = NSTemporaryDirectory() + "leasehold-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        }

        deinit {
            // What stays behind stays in the temporary directory.
            try? FileManager.default.removeItem(atPath: path)
        }

        func write(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: url(name)) }
        func url(_ name: String) -> URL { URL(fileURLWithPath: "\(path)/\(name)") }
        func replace(_ name: String, _ text: String) throws {
            try write(".\(name).tmp", text)
            guard rename("\(path)/.\(name).tmp", "\(path)/\(name)") == 0 else { throw POSIXError(.EIO) }
        }
        func remove(_ name: String) throws { try FileManager.default.removeItem(at: url(name)) }
        func link(_ name: String, to target: String) throws {
            guard symlink(target, "\(path)/\(name)") == 0 else { throw POSIXError(.EIO) }
        }
    }

    /// The source and its machine, as the shell joins them.
    private struct Watcher {
        let source: DirectorySource
        var bench = Bench()

        init(_ path: String) throws {
            source = try DirectorySource(path: path)
            scan()
        }

        mutating func scan() {
            var inputs: [WatcherInput] = []
            source.scan(into: &inputs)
            for input in inputs { bench.handle(input) }
        }

        /// Everything that the kernel has queued: it queues an event before the call that causes it returns.
        mutating func hear() {
            var inputs: [WatcherInput] = []
            source.readEvents(into: &inputs)
            for input in inputs { bench.handle(input) }
        }

        var table: [String] { bench.table() }
        var detail: String? { bench.follower.health?.detail }
    }

    private func text(_ addresses: String..., slice: String = "a") -> String {
        """
        kind: EndpointSlice
        apiVersion: discovery.k8s.io/v1
        metadata: {name: \(slice), namespace: shop, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        ports: [{port: 80}]
        endpoints: [\(addresses.map { "{addresses: [\($0)]}" }.joined(separator: ", "))]

        """
    }

    @Test func whatIsThereIsReadAndWhatIsNotOursIsNot() throws {
        let folder = try Folder()
        try folder.write("a.yaml", text("10.0.0.1", slice: "a"))
        try folder.write("b.yml", text("10.0.0.2", slice: "b"))
        try folder.write("c.json", #"{"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "items": []}"#)
        for name in [".hidden.yaml", "#a.yaml", "a.yaml~", "a.yaml.swp", "README"] { try folder.write(name, text("10.0.0.9", slice: "z")) }
        try FileManager.default.createDirectory(at: folder.url("d.yaml"), withIntermediateDirectories: false)
        #expect(mkfifo("\(folder.path)/pipe.yaml", 0o600) == 0)
        var watcher = try Watcher(folder.path)
        #expect(watcher.table == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(watcher.bench.follower.health?.state == .live)
        #expect(watcher.bench.machine.fileCount == 3)
        try folder.write(".late.yaml", text("10.0.0.9", slice: "z"))
        watcher.hear()
        #expect(watcher.bench.machine.fileCount == 3)
    }

    @Test func aNewFileIsReadWhenItsWriterClosesIt() throws {
        let folder = try Folder()
        var watcher = try Watcher(folder.path)
        let whole = text("10.0.0.1")
        FileManager.default.createFile(atPath: folder.url("a.yaml").path, contents: nil)
        let handle = try FileHandle(forWritingTo: folder.url("a.yaml"))
        watcher.hear()
        let before = watcher.bench.machine.problems
        try handle.write(contentsOf: Data(whole.utf8.prefix(60)))
        watcher.hear()
        #expect(watcher.table.isEmpty)
        #expect(watcher.bench.machine.problems == before, "half a file is not looked at")
        try handle.write(contentsOf: Data(whole.utf8.dropFirst(60)))
        try handle.close()
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80"])
    }

    @Test func aFileIsReplacedDeletedAndRenamed() throws {
        let folder = try Folder()
        try folder.write("a.yaml", text("10.0.0.1"))
        var watcher = try Watcher(folder.path)
        try folder.replace("a.yaml", text("10.0.0.2"))
        watcher.hear()
        #expect(watcher.table == ["10.0.0.2:80"])
        _ = watcher.bench.take()
        try FileManager.default.moveItem(at: folder.url("a.yaml"), to: folder.url("b.yaml"))
        watcher.hear()
        #expect(watcher.table == ["10.0.0.2:80"])
        #expect(!watcher.bench.take().contains { if case .send = $0 { true } else { false } }, "a new name is no change of endpoints")
        try FileManager.default.moveItem(at: folder.url("b.yaml"), to: folder.url("b.off"))
        watcher.hear()
        #expect(watcher.table.isEmpty)
        try FileManager.default.moveItem(at: folder.url("b.off"), to: folder.url("b.yaml"))
        watcher.hear()
        #expect(watcher.table == ["10.0.0.2:80"])
        try folder.remove("b.yaml")
        watcher.hear()
        #expect(watcher.table.isEmpty)
        #expect(watcher.bench.follower.health?.state == .live)
    }

    @Test func aWriteOfTheSameSizeInTheSameTickIsSeen() throws {
        let folder = try Folder()
        var watcher = try Watcher(folder.path)
        for last in 1...200 {
            let handle = try FileHandle(
                forUpdating: {
                    try folder.write("x", ""); return folder.url("x")
                }())
            try handle.close()
            let descriptor = open(folder.url("a.yaml").path, O_WRONLY | O_CREAT, 0o644)
            let bytes = Array(text("10.0.0.\(100 + last % 100)").utf8)
            #expect(Foundation.write(descriptor, bytes, bytes.count) == bytes.count)
            close(descriptor)
            watcher.hear()
            #expect(watcher.table == ["10.0.0.\(100 + last % 100):80"])
        }
    }

    @Test func aBrokenFileKeepsItsLastGoodVersionAndIsNamedWithItsLine() throws {
        let folder = try Folder()
        try folder.write("a.yaml", text("10.0.0.1"))
        var watcher = try Watcher(folder.path)
        try folder.write("a.yaml", text("10.0.0.2") + "ports: 7\n")
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80"])
        #expect(watcher.detail == "\(folder.path)/a.yaml:5:1: the key ports comes twice")
        try folder.write("a.yaml", "")
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80"], "an emptied file is a broken one")
        try folder.write("a.yaml", text("10.0.0.3"))
        watcher.hear()
        #expect(watcher.table == ["10.0.0.3:80"])
        #expect(watcher.bench.follower.health?.state == .live)
    }

    @Test func linksAreFollowedAndOnesThatLeadNowhereAreNamed() throws {
        let folder = try Folder()
        let elsewhere = try Folder()
        try elsewhere.write("real", text("10.0.0.1"))
        var watcher = try Watcher(folder.path)
        try folder.link("a.yaml", to: "\(elsewhere.path)/real")
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80"], "a link is whole when it is made")
        try elsewhere.write("hard", text("10.0.0.2", slice: "b"))
        #expect(Foundation.link("\(elsewhere.path)/hard", "\(folder.path)/b.yaml") == 0)
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80", "10.0.0.2:80"])
        try elsewhere.remove("real")
        watcher.scan()
        #expect(watcher.table == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(
            watcher.detail == "\(folder.path)/a.yaml: No such file or directory; create it, or correct the link or setting that names it")
        try folder.remove("a.yaml")
        watcher.hear()
        #expect(watcher.table == ["10.0.0.2:80"])
        #expect(watcher.bench.follower.health?.state == .live)
    }

    @Test func whatNoNotificationTellsIsReadByTheSecondScanThatFindsItUnchanged() throws {
        let folder = try Folder()
        let elsewhere = try Folder()
        try elsewhere.write("real", text("10.0.0.1"))
        try folder.link("a.yaml", to: "\(elsewhere.path)/real")
        var watcher = try Watcher(folder.path)
        #expect(watcher.table == ["10.0.0.1:80"])
        try elsewhere.write("real", text("10.0.0.1", "10.0.0.2"))
        watcher.hear()
        watcher.scan()
        #expect(watcher.table == ["10.0.0.1:80"], "it may still be being written")
        watcher.scan()
        #expect(watcher.table == ["10.0.0.1:80", "10.0.0.2:80"])
    }

    /// What the kubelet does: files are links to `..data/NAME`, and `..data` is a link to a directory with a time in its name.
    @Test func aConfigMapIsExchangedAsOne() throws {
        let folder = try Folder()
        func version(_ name: String, _ files: [String: String]) throws {
            try FileManager.default.createDirectory(at: folder.url(name), withIntermediateDirectories: false)
            for (file, text) in files { try Data(text.utf8).write(to: folder.url("\(name)/\(file)")) }
            try folder.link("..data_tmp", to: name)
            guard rename("\(folder.path)/..data_tmp", "\(folder.path)/..data") == 0 else { throw POSIXError(.EIO) }
        }
        try version("..2026_01", ["a.yaml": text("10.0.0.1"), "b.yaml": text("10.0.0.2", slice: "b")])
        for name in ["a.yaml", "b.yaml"] { try folder.link(name, to: "..data/\(name)") }
        var watcher = try Watcher(folder.path)
        #expect(watcher.table == ["10.0.0.1:80", "10.0.0.2:80"])
        try version("..2026_02", ["a.yaml": text("10.0.0.3"), "b.yaml": text("10.0.0.4", slice: "b")])
        try folder.remove("..2026_01")
        watcher.hear()
        #expect(watcher.table == ["10.0.0.3:80", "10.0.0.4:80"])
        try version("..2026_03", ["a.yaml": text("10.0.0.5")])
        try folder.remove("b.yaml")
        watcher.hear()
        #expect(watcher.table == ["10.0.0.5:80"])
        #expect(watcher.bench.follower.health?.state == .live)
    }

    @Test func aDirectoryThatIsNotThereIsUnknownAndOneThatGoesIsStale() throws {
        let folder = try Folder()
        let path = "\(folder.path)/endpoints.d"
        var watcher = try Watcher(path)
        #expect(watcher.bench.follower.health?.state == .unknown)
        #expect(watcher.detail == "\(path): No such file or directory; create it, or correct the link or setting that names it")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        try folder.write("endpoints.d/a.yaml", text("10.0.0.1"))
        watcher.scan()
        #expect(watcher.table == ["10.0.0.1:80"])
        try FileManager.default.moveItem(atPath: path, toPath: "\(folder.path)/away")
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80"])
        #expect(watcher.bench.follower.health?.state == .stale)
        try FileManager.default.moveItem(atPath: "\(folder.path)/away", toPath: path)
        try folder.write("endpoints.d/b.yaml", text("10.0.0.2", slice: "b"))
        watcher.scan()
        #expect(watcher.table == ["10.0.0.1:80", "10.0.0.2:80"])
        try folder.write("endpoints.d/b.yaml", text("10.0.0.3", slice: "b"))
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80", "10.0.0.3:80"], "it is watched again")
    }

    @Test func aFileInPlaceOfADirectoryIsNamed() throws {
        let folder = try Folder()
        try folder.write("plain", "")
        let watcher = try Watcher("\(folder.path)/plain")
        #expect(watcher.detail == "\(folder.path)/plain: is not a directory; correct source.directory")
    }

    @Test func aDirectoryBehindALinkThatIsExchangedIsReadAnewByTheNextScan() throws {
        let folder = try Folder()
        for (name, address) in [("v1", "10.0.0.1"), ("v2", "10.0.0.2")] {
            try FileManager.default.createDirectory(at: folder.url(name), withIntermediateDirectories: false)
            try folder.write("\(name)/a.yaml", text(address))
        }
        try folder.link("current", to: "v1")
        var watcher = try Watcher("\(folder.path)/current")
        try folder.link("next", to: "v2")
        #expect(rename("\(folder.path)/next", "\(folder.path)/current") == 0)
        watcher.hear()
        #expect(watcher.table == ["10.0.0.1:80"])
        watcher.scan()
        #expect(watcher.table == ["10.0.0.2:80"])
        // Renamed into place: a file that is written there counts as closed only when every process that was forked meanwhile has let go.
        try folder.write("v2/.a", text("10.0.0.3"))
        #expect(rename("\(folder.path)/v2/.a", "\(folder.path)/v2/a.yaml") == 0)
        watcher.hear()
        #expect(watcher.table == ["10.0.0.3:80"])
    }

    @Test func lostNotificationsAreMadeUpForByAScan() throws {
        let folder = try Folder()
        try folder.write("a.yaml", text("10.0.0.1"))
        var watcher = try Watcher(folder.path)
        let most = Int(
            try String(contentsOfFile: "/proc/sys/fs/inotify/max_queued_events", encoding: .utf8).trimmingCharacters(
                in: .whitespacesAndNewlines))
        // Two names in turn, because the kernel joins equal events.
        for number in 0...((most ?? 16_384) / 2 + 100) {
            for name in ["x.yaml", "y.yaml"] {
                let descriptor = open("\(folder.path)/\(name)", O_WRONLY | O_CREAT, 0o600)
                close(descriptor)
            }
            if number == 0 { try folder.write("x.yaml", text("10.0.0.2", slice: "x")) }
        }
        try folder.remove("y.yaml")
        try folder.write("a.yaml", text("10.0.0.7"))
        watcher.hear()
        #expect(watcher.table == ["10.0.0.2:80", "10.0.0.7:80"])
        #expect(watcher.bench.follower.health?.state == .live)
    }
}
