// Package cost reads from the kernel what processes have cost so far: CPU time and memory.
// A busy machine changes either little.
package cost

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc, the same on all Linux platforms of Go (man 5
// proc, USER_HZ).
const tick = time.Second / 100

// ProcessorTime is the CPU time that the processes have used so far, in total.
func ProcessorTime(pids ...int) (time.Duration, error) {
	var all time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("reading the processor time of a process: %w", err)
		}
		// The name, in brackets, may contain anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, n := range []int{11, 12} { // utime and stime, counted from after the name
			if len(fields) <= n {
				return 0, fmt.Errorf("process %d has no processor time in %q", pid, text)
			}
			ticks, err := strconv.ParseInt(fields[n], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading the processor time of a process: %w", err)
			}
			all += time.Duration(ticks) * tick
		}
	}
	return all, nil
}

// Memory is the memory of a process in MiB.
type Memory struct {
	// Resident is all memory in use, including pages shared with other processes.
	Resident float64
	// Anonymous is the part that no file backs: the private memory of the process.
	Anonymous float64
}

// MemoryOf reads the memory of a process.
func MemoryOf(pid int) (m Memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return m, fmt.Errorf("reading the memory of a process: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kib, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return m, fmt.Errorf("reading the memory of a process: %w", err)
		}
		switch fields[0] {
		case "Rss:":
			m.Resident = kib / 1024
		case "Anonymous:":
			m.Anonymous = kib / 1024
		}
	}
	if m.Resident == 0 || m.Anonymous == 0 {
		return m, fmt.Errorf("the memory of process %d is not in %q", pid, text)
	}
	return m, lines.Err()
}
