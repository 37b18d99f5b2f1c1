package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// completionVerb prints a script that completes commands in a shell.
func (f *front) completionVerb() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print a script that completes commands in a shell",
		Example: examples(
			"for this session", "source <(ringwall completion bash)",
			"for all, in bash", "ringwall completion bash >/etc/bash_completion.d/ringwall",
			"in zsh", `ringwall completion zsh >"${fpath[1]}/_ringwall"`,
			"in fish", "ringwall completion fish >~/.config/fish/completions/ringwall.fish",
		),
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			var script strings.Builder
			var err error
			switch root := cmd.Root(); args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&script, true)
			case "zsh":
				err = root.GenZshCompletion(&script)
			default:
				err = root.GenFishCompletion(&script, true)
			}
			if err != nil {
				return fmt.Errorf("completion for %s: %w", args[0], err)
			}
			if f.json {
				return f.writeJSON(struct {
					Shell  string `json:"shell"`
					Script string `json:"script"`
				}{args[0], script.String()})
			}
			_, err = io.WriteString(f.stdout, script.String())
			return err
		},
	}
}
