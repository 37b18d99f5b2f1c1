package main

import (
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
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(f.stdout, true)
			case "zsh":
				return root.GenZshCompletion(f.stdout)
			default:
				return root.GenFishCompletion(f.stdout, true)
			}
		},
	}
}
