package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file owns what the system tells about the machine and about a process. It reads Linux's /proc; elsewhere these figures are 0.

// machine describes where it is measured. Dir is where databases will be.
func machine(dir string) Machine {
	return Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), MemoryGiB: memory(), System: system(), Go: runtime.Version(),
		FlushMS: flush(dir), LoadBefore: loadAverage(),
	}
}

// field is the first value of that name in a file of the kernel's.
func field(path, name string) string {
	raw, _ := os.ReadFile(path)
	for line := range strings.Lines(string(raw)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memory() float64 {
	kB, _ := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64)
	return round(kB / (1 << 20))
}

func system() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(runtime.GOOS + "/" + runtime.GOARCH + " " + string(bytes.TrimSpace(release)))
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(raw))[:min(3, len(strings.Fields(string(raw))))], " ")
}

// flush is what a small write takes until it is on the disk: the median of 50, in milliseconds.
func flush(dir string) float64 {
	file, err := os.Create(filepath.Join(dir, "flush"))
	if err != nil {
		return 0
	}
	defer file.Close()
	took := make([]time.Duration, 50)
	page := make([]byte, 4096)
	for i := range took {
		begun := time.Now()
		if _, err := file.Write(page); err != nil {
			return 0
		}
		if err := file.Sync(); err != nil {
			return 0
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return round(float64(took[25].Microseconds()) / 1000)
}

// used is what a process has used since it began.
type used struct{ cpu, written, read, load float64 }

// tick is the kernel's unit of processor time, which is 100 a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

func (p *process) usage() used {
	u := usageOf(strconv.Itoa(p.cmd.Process.Pid))
	u.load = usageOf("self").cpu
	return u
}

func usageOf(pid string) (u used) {
	stat, _ := os.ReadFile("/proc/" + pid + "/stat")
	io := "/proc/" + pid + "/io"
	if _, rest, found := bytes.Cut(stat, []byte(") ")); found { // the name may hold spaces
		if fields := strings.Fields(string(rest)); len(fields) > 12 {
			user, _ := strconv.ParseFloat(fields[11], 64)
			system, _ := strconv.ParseFloat(fields[12], 64)
			u.cpu = (user + system) * float64(tick.Microseconds())
		}
	}
	u.written, _ = strconv.ParseFloat(field(io, "wchar"), 64)
	u.read, _ = strconv.ParseFloat(field(io, "rchar"), 64)
	return u
}

// since is what each of n operations used.
func (u used) since(before used, n int64) Usage {
	each := func(now, then float64) float64 { return round((now - then) / float64(max(n, 1))) }
	return Usage{CPU: each(u.cpu, before.cpu), Written: each(u.written, before.written), Read: each(u.read, before.read), Load: each(u.load, before.load)}
}

// resident is how much memory the process holds, in bytes.
func (p *process) resident() float64 {
	kB, _ := strconv.ParseFloat(strings.TrimSuffix(field(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), "VmRSS"), " kB"), 64)
	return kB * 1024
}
