/*
 * The process that holds a pod's namespaces open. It is pid 1 of pods that share their pid namespace, so it
 * also reaps what is left behind there. Ends on SIGINT and SIGTERM.
 */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void)
{
    sigset_t awaited;
    int signal;

    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGTERM);
    /* Blocked, then taken one by one: no handler, no race, and pid 1 gets signals that it would else ignore. */
    if (sigprocmask(SIG_BLOCK, &awaited, NULL) != 0)
        return 1;
    while (sigwait(&awaited, &signal) == 0) {
        if (signal != SIGCHLD)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    return 1;
}
