import CLinux

extension Executable {
    /// Turns this process into another program (execve(2)), with its descriptors that are not close-on-exec. Returns by its failure only.
    public static func become(_ path: String, arguments: [String], environment: [String]) -> SystemError {
        let argv = CStrings(arguments)
        let envp = CStrings(environment)
        return SystemError(Int32(-lh_exec(path, argv.pointer, envp.pointer)), "execute", path)
    }
}
