package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// git is how the git program is run: in a directory, reading alone.
type git struct{ dir string }

func gitIn(dir string) git { return git{dir} }

// command prepares a run that starts no pager, hook, file monitor or question, takes no lock, and fetches nothing.
// Where the repository, its index and its objects are is left to the environment, which in a hook git itself sets.
func (g git) command(args ...string) *exec.Cmd {
	cmd := exec.Command("git", append([]string{
		"--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", g.dir,
	}, args...)...)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !hasEffects(name) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "LC_ALL=C")
	return cmd
}

// hasEffects tells whether a variable makes git run other programs or write traces.
func hasEffects(name string) bool {
	switch name {
	case "GIT_PAGER", "PAGER", "GIT_EXTERNAL_DIFF", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR", "GIT_EXEC_PATH":
		return true
	}
	return strings.HasPrefix(name, "GIT_TRACE")
}

// output runs git and returns what it prints.
func (g git) output(args ...string) (string, error) {
	cmd := g.command(args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", gitError(args[0], err, complaint.String())
	}
	return out.String(), nil
}

// gitError names what git was doing, and what it said last.
func gitError(what string, err error, said string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("the git program is not installed")
	}
	if first, _, _ := strings.Cut(strings.TrimSpace(said), "\n"); first != "" {
		return fmt.Errorf("git %s: %s", what, strings.TrimPrefix(first, "fatal: "))
	}
	return fmt.Errorf("git %s: %w", what, err)
}

// blobs is a git program that hands out objects by name.
type blobs struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err error // once set, nothing is read any more
}

// openBlobs starts it.
func openBlobs(run git) (*blobs, error) {
	b := &blobs{cmd: run.command("cat-file", "--batch")}
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	b.out = bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		return nil, gitError("cat-file", err, "")
	}
	return b, nil
}

// read returns a blob of at most limit bytes.
func (b *blobs) read(oid string, limit int64) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	head, data, err := b.exchange(oid, limit)
	if err != nil {
		b.err = fmt.Errorf("git cat-file: %w", err)
		return nil, b.err
	}
	switch {
	case !strings.Contains(head, " blob "):
		return nil, fmt.Errorf("git cat-file: %s", head)
	case data == nil:
		return nil, tooLarge(limit)
	}
	return data, nil
}

// exchange asks for an object and reads the answer: "OID TYPE SIZE", the contents, and a line feed; or "OID missing".
// Contents of more than limit bytes it skips, and returns nil.
func (b *blobs) exchange(oid string, limit int64) (head string, data []byte, err error) {
	if _, err := io.WriteString(b.in, oid+"\n"); err != nil {
		return "", nil, err
	}
	if head, err = b.out.ReadString('\n'); err != nil {
		return "", nil, err
	}
	head = strings.TrimSuffix(head, "\n")
	f := strings.Fields(head)
	if len(f) != 3 {
		return head, nil, nil
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return "", nil, err
	}
	if size > limit {
		_, err := io.CopyN(io.Discard, b.out, size+1)
		return head, nil, err
	}
	data = make([]byte, size+1)
	_, err = io.ReadFull(b.out, data)
	return head, data[:size], err
}

// close ends the program.
func (b *blobs) close() error {
	b.err = errors.New("git cat-file: closed")
	b.in.Close()
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("git cat-file: %w", err)
	}
	return nil
}
