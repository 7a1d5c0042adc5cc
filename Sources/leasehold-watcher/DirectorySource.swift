import CLinux
import Kubernetes
import Linux
import WatcherCore

/// The directory of manifests: `*.yaml`, `*.yml` and `*.json` that are not hidden, told to the machine as they come and go.
///
/// inotify says at once when a file was written and closed, renamed into place, or removed; a look through the whole
/// directory (``scan(into:isAnnounced:)``) finds what inotify cannot say. A file written in place is read when its writer closes
/// it, and one that a scan finds changed only when the next scan finds it unchanged: half-written files are not read.
/// A ConfigMap's directory, whose files are links through `..data`, is read anew when `..data` is exchanged.
final class DirectorySource {
    let path: String
    private let inotify: Inotify
    /// The kernel's watch of the directory and which directory that is.
    private var watch: (id: Int32, device: UInt64, inode: UInt64)?
    /// The versions that the machine was told of, good or broken.
    private var told: [String: FileStamp] = [:]
    /// Files that may not be read by us; a change of mode is enough to try again.
    private var forbidden: Set<String> = []
    /// Versions that a scan found and inotify has not announced: still being written, perhaps.
    private var unsettled: [String: FileStamp] = [:]
    /// Why changes are only found by scans; reported once.
    private(set) var watchProblem: String?

    /// Most files that are read; a directory with more is a mistake.
    static let mostFiles = 100_000

    init(path: String) throws(SystemError) {
        self.path = path
        inotify = try Inotify()
    }

    /// Readable when ``readEvents(into:)`` has something to say.
    var fileDescriptor: Int32 { inotify.fileDescriptor }

    /// Whether a file of this name is a manifest.
    static func isManifest(_ name: String) -> Bool {
        guard let first = name.first, first != ".", first != "#" else { return false }
        return name.hasSuffix(".yaml") || name.hasSuffix(".yml") || name.hasSuffix(".json")
    }

    /// Looks through the whole directory. With `isAnnounced` every changed file is read at once; so it is the first time, when
    /// nothing was told before: what a file holds would look removed.
    func scan(into inputs: inout [WatcherInput], isAnnounced: Bool = false) {
        do throws(SystemError) {
            let isAnnounced = try rewatch() || isAnnounced
            let names = try Files.names(in: path).filter(Self.isManifest).sorted()
            guard names.count <= Self.mostFiles else {
                inputs.append(
                    .directoryUnreadable(
                        "\(path) has \(names.count) manifests; at most \(Self.mostFiles) are read: write fewer, larger ones"))
                return
            }
            var present: Set<String> = []
            for name in names where look(at: name, isAnnounced: isAnnounced, into: &inputs) { present.insert(name) }
            forget { !present.contains($0) }
            inputs.append(.scanCompleted(files: present))
        } catch {
            dropWatch()
            inputs.append(.directoryUnreadable(Self.sentence(error, path)))
        }
    }

    /// What inotify has to say since the last time.
    func readEvents(into inputs: inout [WatcherInput]) {
        let events: [Inotify.Event]
        do throws(SystemError) {
            events = try inotify.read()
        } catch {
            // Without events there are still scans.
            watchProblem = error.description
            return
        }
        // However often a file was touched meanwhile, only what it is now counts.
        var names: [String] = []
        var isWhole: [String: Bool] = [:]
        var needsScan = false
        for event in events {
            if event.mask.contains(.overflow) {
                needsScan = true
            } else if event.watch != watch?.id {
                // Left over from a watch that ended.
                continue
            } else if !event.mask.isDisjoint(with: [.selfDeleted, .selfMoved, .unmounted, .ignored]) {
                // The watch goes with its directory; the scan finds another one at the path, or none.
                dropWatch()
                needsScan = true
            } else if event.name == "..data" {
                needsScan = true
            } else if Self.isManifest(event.name) {
                let earlier = isWhole[event.name]
                if earlier == nil { names.append(event.name) }
                isWhole[event.name] = earlier == true || endsWriting(event)
            }
        }
        if needsScan { return scan(into: &inputs, isAnnounced: true) }
        if names.isEmpty { return }
        for name in names {
            let isWritten = isWhole[name] == true
            if look(at: name, isAnnounced: isWritten, isWritten: isWritten, into: &inputs) { continue }
            inputs.append(.fileRemoved(name))
            forget { $0 == name }
        }
        inputs.append(.settled)
    }

    /// Whether the file is now as its writer wants it.
    private func endsWriting(_ event: Inotify.Event) -> Bool {
        if !event.mask.isDisjoint(with: [.closedAfterWrite, .movedTo]) { return true }
        if event.mask.contains(.attributes) { return forbidden.contains(event.name) }
        guard event.mask.contains(.created) else { return false }
        // A new link is whole; a new file is still to be written.
        guard let stamp = try? Files.stamp("\(path)/\(event.name)", followingLinks: false) else { return false }
        return stamp.isLink || stamp.links > 1
    }

    /// Tells the machine about one file, if there is something new. False if there is no such file.
    ///
    /// - Parameter isWritten: somebody has just closed it, so it is read even if its stamp, which is as coarse as the kernel's
    ///   clock tick, says nothing new.
    private func look(at name: String, isAnnounced: Bool, isWritten: Bool = false, into inputs: inout [WatcherInput]) -> Bool {
        let file = "\(path)/\(name)"
        let stamp: FileStamp
        do throws(SystemError) {
            stamp = try Files.stamp(file)
        } catch {
            guard (try? Files.stamp(file, followingLinks: false)) != nil else { return false }
            // A link that leads nowhere, or a file behind a directory that is closed to us.
            told[name] = nil
            inputs.append(.fileBroken(name, problem: Self.sentence(error, file)))
            return true
        }
        guard stamp.isRegular else { return false }
        if told[name] == stamp, !isWritten { return true }
        if !isAnnounced, unsettled[name] != stamp {
            unsettled[name] = stamp
            return true
        }
        unsettled[name] = nil
        read(name, file, into: &inputs)
        return true
    }

    private func read(_ name: String, _ file: String, into inputs: inout [WatcherInput]) {
        forbidden.remove(name)
        let content: Files.Content
        do throws(SystemError) {
            content = try Files.read(file, limit: ManifestFile.mostJSONBytes)
        } catch {
            if error.errno == EACCES { forbidden.insert(name) }
            told[name] = try? Files.stamp(file)
            inputs.append(.fileBroken(name, problem: Self.sentence(error, file)))
            return
        }
        if content.isTorn {
            told[name] = nil
            inputs.append(.fileBroken(name, problem: "\(file): is being written; it is read again when that ends"))
            return
        }
        told[name] = content.stamp
        do throws(ManifestFile.Problem) {
            inputs.append(.fileLoaded(name, try ManifestFile.parse(content.bytes, name: name)))
        } catch {
            inputs.append(.fileBroken(name, problem: error.sentence(file: file)))
        }
    }

    private func forget(where isGone: (String) -> Bool) {
        told = told.filter { !isGone($0.key) }
        unsettled = unsettled.filter { !isGone($0.key) }
        forbidden = forbidden.filter { !isGone($0) }
    }

    // MARK: The watch

    /// Watches what the path names now, before it is listed, so that nothing falls between. True if that is another directory than
    /// before, or the first.
    private func rewatch() throws(SystemError) -> Bool {
        let stamp = try Files.stamp(path)
        guard stamp.isDirectory else { throw SystemError(ENOTDIR, "open", path) }
        if let watch, watch.device == stamp.device, watch.inode == stamp.inode { return false }
        dropWatch()
        do throws(SystemError) {
            let id = try inotify.watch(
                path, [.attributes, .closedAfterWrite, .movedFrom, .movedTo, .created, .deleted, .selfDeleted, .selfMoved])
            watch = (id, stamp.device, stamp.inode)
            watchProblem = nil
            return true
        } catch {
            let isFirst = watchProblem == nil
            guard error.errno == ENOSPC || error.errno == ENOMEM else { throw error }
            watchProblem = "\(error); raise fs.inotify.max_user_watches: until then changes are found within ten seconds"
            return isFirst
        }
    }

    private func dropWatch() {
        if let watch { inotify.unwatch(watch.id) }
        watch = nil
    }

    /// What failed and what to do about it.
    private static func sentence(_ error: SystemError, _ file: String) -> String {
        let reason = String(cString: strerror(error.errno))
        switch error.errno {
        case EACCES, EPERM: return "\(file): \(reason); let the watcher's user read it"
        case ENOENT: return "\(file): \(reason); create it, or correct the link or setting that names it"
        case ENOTDIR: return "\(file): is not a directory; correct source.directory"
        case EFBIG: return "\(file): is larger than \(ManifestFile.mostJSONBytes >> 20) MiB; split it"
        default: return "\(file): \(reason) (\(error.call))"
        }
    }
}
